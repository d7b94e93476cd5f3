"""Verdict protocols: how a judge is made to give a number, and how the number is read from its reply."""

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
_ALL = (
    Protocol("rating", 1, read_rating),
    Protocol("rating-choice", 1, read_choice, _PREFIX, _CONTINUED, most_tokens=8),
)
PROTOCOLS: Mapping[str, Protocol] = {protocol.name: protocol for protocol in _ALL}
"""Every protocol by its name in `JudgeSettings.protocol`."""
