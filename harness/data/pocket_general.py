"""The general part of the pocket world: copying, ordering, counting, arithmetic, comparing; two turns each."""

from random import Random

from harness.data.pocket_truth import Turn, turn
from harness.data.pocket_words import COLORS, LISTED, NOUNS

Turns = tuple[Turn, Turn]


def copy(rng: Random) -> Turns:
    """Repeat words; then only the first or the last word."""
    words = rng.sample(NOUNS, rng.randint(3, 5))
    end = rng.choice(("first", "last"))
    return (
        turn(f"copy the words : {' '.join(words)}", op="copy", words=words),
        turn(f"now only the {end} word", op=end, words=words),
    )


def order(rng: Random) -> Turns:
    """Reverse words or sort numbers; then in the opposite order."""
    if rng.random() < 0.5:
        words = rng.sample(NOUNS, 3)
        return (
            turn(f"reverse the words : {' '.join(words)}", op="reverse", words=words),
            turn("now reverse it", op="copy", words=words),
        )
    numbers = rng.sample(LISTED, 3)
    return (
        turn(f"sort from smallest to largest : {_text(numbers)}", op="ascending", numbers=numbers),
        turn("now from largest to smallest", op="descending", numbers=numbers),
    )


def count(rng: Random) -> Turns:
    """Count a word's occurrences; then another word's."""
    colors = rng.sample(COLORS, 2)
    words = rng.choices(colors, k=rng.randint(2, 4))
    return (
        turn(f"how many {colors[0]} in : {' '.join(words)}", op="count", words=words, word=colors[0]),
        turn(f"and how many {colors[1]}", op="count", words=words, word=colors[1]),
    )


def arithmetic(rng: Random) -> Turns:
    """Add or subtract; then add to or subtract from the result."""
    op = rng.choice(("plus", "minus"))
    b = rng.randint(1, 4)
    a = rng.randint(0 if op == "plus" else b, 12)
    first = turn(f"what is {a} {op} {b} ?", op=op, a=a, b=b)
    step = rng.randint(1, 4)
    if rng.random() < 0.5 or int(first.answer) < step:
        return first, turn(f"now add {step}", op="plus", a=int(first.answer), b=step)
    return first, turn(f"now take away {step}", op="minus", a=int(first.answer), b=step)


def compare(rng: Random) -> Turns:
    """Name the largest or smallest number; then the opposite."""
    numbers = rng.sample(LISTED, rng.randint(3, 4))
    end, other = rng.sample(("largest", "smallest"), 2)
    return (
        turn(f"what is the {end} of {_text(numbers)} ?", op=end, numbers=numbers),
        turn(f"and the {other} ?", op=other, numbers=numbers),
    )


def _text(numbers: list[int]) -> str:
    return " ".join(map(str, numbers))


TASKS = {"copy": copy, "order": order, "count": count, "arithmetic": arithmetic, "compare": compare}
"""The general categories."""
