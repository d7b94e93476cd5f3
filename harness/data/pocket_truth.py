"""The truth of the pocket world: a program that answers from facts, and checks any answer against them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.core.canonical import Json
from harness.data.pocket_words import CATEGORY_OF

Facts = Mapping[str, Json]
"""The operation that a turn asks for: `op` is its name, the others are its operands."""


@dataclass(frozen=True)
class Turn:
    """A question of the pocket world and its right answer."""

    text: str
    answer: str
    facts: Facts


def turn(text: str, **facts: Json) -> Turn:
    """A turn whose answer follows from its facts."""
    return Turn(text, solve(facts), facts)


_OPERATIONS: dict[str, Callable[..., Json]] = {
    "copy": lambda words: words,
    "reverse": lambda words: words[::-1],
    "first": lambda words: words[0],
    "last": lambda words: words[-1],
    "ascending": lambda numbers: sorted(map(int, numbers)),
    "descending": lambda numbers: sorted(map(int, numbers), reverse=True),
    "largest": lambda numbers: max(map(int, numbers)),
    "smallest": lambda numbers: min(map(int, numbers)),
    "count": lambda words, word: words.count(word),
    "plus": lambda a, b: a + b,
    "minus": lambda a, b: a - b,
    "attributes": lambda record, names: [record[name] for name in names],
    "category": lambda product: CATEGORY_OF[product],
    "fits": lambda product, category: "yes" if CATEGORY_OF[product] == category else "no",
}


def solve(facts: Facts) -> str:
    """The right answer to a turn. Raises ValueError for facts that are not of this world."""
    operands = dict(facts)
    try:
        result = _OPERATIONS[str(operands.pop("op"))](**operands)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"not facts of the pocket world: {facts!r} ({type(error).__name__})") from None
    return " ".join(map(str, result)) if isinstance(result, list) else str(result)


def check(facts: Facts, answer: str) -> tuple[float, str]:
    """1.0 for the right words in the right order, else 0.0, and why.

    Case and white space do not count; an extra word, a missing word or punctuation does, because answers are short and
    a longer answer has not followed the instruction. Raises ValueError for facts that are not of this world.
    """
    expected = solve(facts)
    if answer.lower().split() == expected.split():
        return 1.0, "right"
    return 0.0, f"expected `{expected}`"
