"""The better of two answers and by how much, as Arena-Hard asks for it: A>>B, A>B, A=B, B>A or B>>A.

A verdict's value is from the first shown answer's (A's) point of view; from B's it is one minus that. Which model was
A only the task's `variant` says. The scale keeps a significant win apart from a slight one: a game counts as so many
battles (three for `>>`, else one), each 1, 0.5 or 0, and its value is 0.5 plus the battles' sum of (outcome - 0.5):

    A>>B 2    A>B 1    A=B 0.5    B>A 0    B>>A -1

A value between 0 and 1 is one battle with that share of the win: what a judge's own probabilities give.
"""

import re
from collections.abc import Sequence

from harness.judge.protocol import CONTINUED, SCORED, Protocol, TopLogprobs, VerdictForm, constrained, probability

VALUES = {"A>>B": 2.0, "A>B": 1.0, "A=B": 0.5, "B>A": 0.0, "B>>A": -1.0}
"""Label -> value, best for A first."""
STRONG_WEIGHT = 3
"""Battles that a significant win counts as: `WEIGHT` of arena-hard-auto's show_result."""
_VERDICT = re.compile(r"\[\[([AB<>=]+)\]\]")
"""arena-hard-auto v0.1's `regex_pattern`."""
_PREFIX = "My final verdict is: [["


def battles(value: float) -> tuple[float, int]:
    """The share of the win that each battle of a game goes by, and how many battles the game counts as."""
    return min(1.0, max(0.0, value)), 1 if 0 <= value <= 1 else STRONG_WEIGHT


def label(value: float) -> str:
    """The label of a value; of a share between 0 and 1 the slight win of the side that has more."""
    named = {v: name for name, v in VALUES.items()}
    return named.get(value) or ("A>B" if value > 0.5 else "B>A")


def read_verdict(text: str) -> float:
    """The only verdict in a free-text reply, as arena-hard-auto v0.1 finds it.

    There too a reply with several different labels, or with a label that is not among the five (`A<B`), has no verdict.
    There the judge is asked once more to finish when it gave no label; here that is its final failure.
    """
    found = dict.fromkeys(_VERDICT.findall(text))
    if not found:
        raise ValueError("no verdict in the reply")
    if len(found) > 1:
        raise ValueError(f"different verdicts in the reply: {', '.join(found)}")
    return read_label(next(iter(found)))


_LATER_VERDICTS = (_VERDICT, re.compile(r"\[([AB<>=]+)\]"))
"""arena-hard-auto v2.0's `regex_patterns`: the second where the first finds nothing."""
TURNED = {"A<<B": "B>>A", "A<B": "B>A", "B=A": "A=B", "B<A": "A>B", "B<<A": "A>>B"}
"""Labels that only v2.0 knows, and the same verdicts as the others say them."""


def read_last_verdict(text: str) -> float:
    """The last verdict in a free-text reply, as arena-hard-auto v2.0 finds it: in lower case, in single brackets and
    turned round (`A<B`) too."""
    found = next((labels for pattern in _LATER_VERDICTS if (labels := pattern.findall(text.upper()))), [])
    if not found:
        raise ValueError("no verdict in the reply")
    return read_label(TURNED.get(found[-1], found[-1]))


def read_label(text: str) -> float:
    """The value of one of the five labels."""
    if text not in VALUES:
        raise ValueError(f"the verdict is none of {', '.join(VALUES)}")
    return VALUES[text]


def read_choice(text: str) -> float:
    """The verdict of a constrained reply, `My final verdict is: [[A>B`."""
    return read_label(text.removeprefix(_PREFIX).strip())


def expected_verdict(likeliest: Sequence[TopLogprobs]) -> tuple[float, str]:
    """How likely A is better under a judge's probabilities, to four digits, and the reply that stands for it.

    The first are the log-probabilities (nats) of tokens after `[[`, the others after `[[A` and `[[B`: a label that
    begins with A may still be a tie, which counts half. `>` and `>>` count the same, since tokenizers cut them
    differently: every game is one battle. Mass on anything that does not go on to a label is left out.

    Raises:
        ValueError: no label is among the likeliest tokens.
    """
    first, *after = likeliest
    better = {"A": 0.0, "B": 0.0}
    tie = 0.0
    for letter, following in zip(better, after, strict=True):
        mass = probability(first[letter]) if letter in first else 0.0
        better[letter] = mass * _mass_on(following, ">")
        tie += mass * _mass_on(following, "=")
    total = better["A"] + better["B"] + tie
    if not total:
        raise ValueError("no verdict label is among the judge's likeliest tokens")
    share = round((better["A"] + tie / 2) / total, 4)
    return share, f"{_PREFIX}A {share:.4f}"


def _mass_on(likeliest: TopLogprobs, sign: str) -> float:
    return sum(probability(logprob) for token, logprob in likeliest.items() if token.startswith(sign))


FORM = VerdictForm(
    "arena",
    {
        "text": Protocol("arena", 2, read_verdict, rereads=(1,)),
        "choice": Protocol(
            "arena-choice", 1, read_choice, _PREFIX, body={**CONTINUED, **constrained(tuple(VALUES))}, most_tokens=8
        ),
        "expected": Protocol(
            "arena-expected",
            1,
            prefix=_PREFIX,
            scored=expected_verdict,
            continuations=("A", "B"),
            body={**CONTINUED, **SCORED},
            most_tokens=1,
        ),
    },
)
