"""Verdict protocols: how a judge is made to give a number, and how the number is read from its reply."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness.core.canonical import Json

LOWEST, HIGHEST = 1, 10
_RATING = re.compile(r"\[\[(\d+\.?\d*)\]\]")
"""FastChat's `one_score_pattern`."""
_RATING_BACKUP = re.compile(r"\[(\d+\.?\d*)\]")
"""FastChat's `one_score_pattern_backup`, tried when the first finds nothing."""
_CHOICES = tuple(str(k) for k in range(LOWEST, HIGHEST + 1))


@dataclass(frozen=True)
class Protocol:
    """One way to get a verdict. Its name and version are part of the judge's digest."""

    name: str
    version: int
    """Raised when the same reply would be read differently, or the judge is asked differently."""
    read: Callable[[str], float]
    """Reply -> value. Raises ValueError, with the reason, when there is no verdict in it."""
    prefix: str = ""
    """Text that the judge's reply is made to begin with; put back in front of what it continues with."""
    expected: bool = False
    """The value is not the rating the judge writes but the mean of those it could have written, by its own
    probabilities: two calls, since a 10 begins like a 1."""
    body: Mapping[str, Json] = field(default_factory=dict)
    """What is sent beside messages, temperature and max_tokens."""
    most_tokens: int | None = None
    """The longest reply that can be, where that is known: a server need not keep room for more."""


def read_rating(text: str) -> float:
    """The one rating in a free-text reply, as FastChat finds it: `[[7]]`, else `[7]`.

    FastChat takes the first match, whatever it is. Where a reply holds two different ratings, or one outside 1..10
    (a list index, a matrix), that is a guess: here it is no verdict.
    """
    found = _RATING.findall(text) or _RATING_BACKUP.findall(text)
    ratings = {float(match) for match in found}
    if not ratings:
        raise ValueError("no rating in the reply")
    if len(ratings) > 1:
        raise ValueError(f"different ratings in the reply: {', '.join(dict.fromkeys(found))}")
    return _on_scale(ratings.pop())


def read_choice(text: str) -> float:
    """The rating of a constrained reply, `Rating: [[7`."""
    choice = text.removeprefix(_PREFIX).strip()
    if choice not in _CHOICES:
        raise ValueError(f"the reply is none of 1 to {HIGHEST}: the server did not constrain it")
    return float(choice)


def read_expected(text: str) -> float:
    """The mean in a reply that `expected_rating` wrote, `Rating: [[4.87`."""
    return _on_scale(float(text.removeprefix(_PREFIX)))


def expected_rating(first: Mapping[str, float], after_one: Mapping[str, float]) -> str:
    """The reply that stands for a judge's probabilities: `Rating: [[` and the mean rating to four digits.

    `first` are the log-probabilities (nats) of tokens after `Rating: [[`, `after_one` after `Rating: [[1`. A tokenizer
    with a token for 10 has its mass in `first`; one that writes digit by digit has it under 1, in the share of 1 that
    goes on with 0. Mass on anything but 1 to 10 is left out.

    Raises:
        ValueError: no number is among the likeliest tokens.
    """
    mass = {k: math.exp(first[str(k)]) for k in range(LOWEST, HIGHEST + 1) if str(k) in first}
    if not mass:
        raise ValueError("no number from 1 to 10 is among the judge's likeliest tokens")
    if 1 in mass:
        ten = mass[1] * math.exp(after_one["0"]) if "0" in after_one else 0.0
        mass[1] -= ten
        mass[HIGHEST] = mass.get(HIGHEST, 0.0) + ten
    total = sum(mass.values())
    return f"{_PREFIX}{sum(k * m for k, m in mass.items()) / total:.4f}"


def _on_scale(rating: float) -> float:
    if not LOWEST <= rating <= HIGHEST:
        raise ValueError(f"the rating {rating:g} is outside {LOWEST}..{HIGHEST}")
    return rating


_PREFIX = "Rating: [["
# The judge's own turn is begun for it and continued; vLLM's structured output allows the ten numbers and nothing else.
# (Its older name `guided_choice` is ignored without a word by vLLM 0.32.)
_CONTINUED = {
    "add_generation_prompt": False,
    "continue_final_message": True,
    "structured_outputs": {"choice": list(_CHOICES)},
}
# One token is asked for, with the probabilities of the likeliest ones: the numbers are scored, not generated.
_SCORED = {"add_generation_prompt": False, "continue_final_message": True, "logprobs": True, "top_logprobs": 20}
_ALL = (
    Protocol("rating", 1, read_rating),
    Protocol("rating-choice", 1, read_choice, _PREFIX, body=_CONTINUED, most_tokens=8),
    Protocol("rating-expected", 1, read_expected, _PREFIX, body=_SCORED, most_tokens=1, expected=True),
)
PROTOCOLS: Mapping[str, Protocol] = {protocol.name: protocol for protocol in _ALL}
"""Every protocol by its name in `JudgeSettings.protocol`."""
