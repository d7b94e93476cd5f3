"""The better of two answers, as MT-Bench's pairwise prompts ask for it: A, B or a tie (C).

A verdict's value is the first shown answer's (A's) share of the win: 1 where A is better, 0 where B is, 0.5 for a tie,
and its probability where the judge's own probabilities are read. Which model was A only the task's `variant` says.
"""

from collections.abc import Sequence

from harness.judge.protocol import CONTINUED, SCORED, Protocol, TopLogprobs, VerdictForm, constrained, probability

FIRST, TIE, SECOND = 1.0, 0.5, 0.0
_VALUES = {"A": FIRST, "B": SECOND, "C": TIE}
_PREFIX = "My final verdict is: [["


def read_winner(text: str) -> float:
    """The only verdict in a free-text reply: `[[A]]`, `[[B]]` or `[[C]]`.

    Where a reply holds several, FastChat takes A before B before C. That is a guess: here it is no verdict.
    """
    found = [label for label in _VALUES if f"[[{label}]]" in text]
    if not found:
        raise ValueError("none of [[A]], [[B]] and [[C]] is in the reply")
    if len(found) > 1:
        raise ValueError(f"different verdicts in the reply: {', '.join(found)}")
    return _VALUES[found[0]]


def fastchat_winner(text: str) -> float | None:
    """FastChat's reading of a reply: A before B before C; else None."""
    return next((value for label, value in _VALUES.items() if f"[[{label}]]" in text), None)


def read_choice(text: str) -> float:
    """The verdict of a constrained reply, `My final verdict is: [[A`."""
    label = text.removeprefix(_PREFIX).strip()
    if label not in _VALUES:
        raise ValueError("the reply is none of A, B and C: the server did not constrain it")
    return _VALUES[label]


def expected_winner(likeliest: Sequence[TopLogprobs]) -> tuple[float, str]:
    """A's share under a judge's probabilities of A, B and C, to four digits, and the reply that stands for it.

    A tie counts half; mass on anything else is left out.

    Raises:
        ValueError: none of the three is among the likeliest tokens.
    """
    (first,) = likeliest
    mass = {label: probability(first[label]) for label in _VALUES if label in first}
    total = sum(mass.values())
    if not total:
        raise ValueError("none of A, B and C is among the judge's likeliest tokens")
    share = round(sum(_VALUES[label] * m for label, m in mass.items()) / total, 4)
    return share, f"{_PREFIX}A {share:.4f}"


FORM = VerdictForm(
    "pair",
    {
        "text": Protocol("pair", 2, read_winner, rereads=(1,), upstream=fastchat_winner),
        "choice": Protocol(
            "pair-choice", 1, read_choice, _PREFIX, body={**CONTINUED, **constrained(tuple(_VALUES))}, most_tokens=4
        ),
        "expected": Protocol(
            "pair-expected",
            1,
            prefix=_PREFIX,
            scored=expected_winner,
            body={**CONTINUED, **SCORED},
            most_tokens=1,
        ),
    },
)
