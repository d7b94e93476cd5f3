"""A rating from 1 to 10, as MT-Bench asks for it."""

import re
from collections.abc import Sequence

from harness.judge.protocol import CONTINUED, SCORED, Protocol, TopLogprobs, VerdictForm, constrained, probability

LOWEST, HIGHEST = 1, 10
_NO_MARK = 0
"""FastChat counts a 0, though the prompt asks for 1 to 10: a judge gives it to an answer that it finds worthless."""
_NUMBER = r"(\d+\.?\d*)"
_RATING = re.compile(
    rf"(?:\\?\[){{2}}[\s*_`]*{_NUMBER}[\s*_`]*(?:/\s*10[\s*_`]*)?(?:\\?\]){{2}}"  # [[7]], \[\[ **7**/10 \]\]
    rf"|【【\s*{_NUMBER}\s*】】"
    rf"|\brating[\s*_`]*[:：][\s*_`]*\[\s*{_NUMBER}\s*\](?!\])",  # Rating: [7]
    re.IGNORECASE,
)
_FASTCHAT = re.compile(r"\[\[(\d+\.?\d*)\]\]"), re.compile(r"\[(\d+\.?\d*)\]")
"""Its `one_score_pattern`, and `one_score_pattern_backup`, tried when the first finds nothing."""
_CHOICES = tuple(str(k) for k in range(LOWEST, HIGHEST + 1))
_PREFIX = "Rating: [["


def read_rating(text: str) -> float:
    """The only rating in a free-text reply: `[[7]]`, as the prompt asks for it, however a judge decorates it.

    A number in other brackets (an index, a citation) or without brackets (`7/10`) is no rating. A reply with two
    different ratings, or with one beyond 10, has none: to choose a number there would be a guess.
    """
    found = ["".join(match.groups("")) for match in _RATING.finditer(text)]
    ratings = {float(match) for match in found}
    if not ratings:
        raise ValueError("no rating in the reply")
    if len(ratings) > 1:
        raise ValueError(f"different ratings in the reply: {', '.join(dict.fromkeys(found))}")
    rating = ratings.pop()
    if rating > HIGHEST:
        raise ValueError(f"the rating {rating:g} is outside {_NO_MARK}..{HIGHEST}")
    return rating


def fastchat_rating(text: str) -> float | None:
    """FastChat's reading of a reply: the first `[[7]]`, else the first `[7]`, whatever the number; else None."""
    match = next((match for pattern in _FASTCHAT if (match := pattern.search(text))), None)
    return None if match is None else float(match[1])


def read_choice(text: str) -> float:
    """The rating of a constrained reply, `Rating: [[7`."""
    choice = text.removeprefix(_PREFIX).strip()
    if choice not in _CHOICES:
        raise ValueError(f"the reply is none of 1 to {HIGHEST}: the server did not constrain it")
    return float(choice)


def expected_rating(likeliest: Sequence[TopLogprobs]) -> tuple[float, str]:
    """The mean rating under a judge's probabilities, to four digits, and the reply that stands for it.

    The first are the log-probabilities (nats) of tokens after `Rating: [[`, the second after `Rating: [[1`. A tokenizer
    with a token for 10 has its mass in the first; one that writes digit by digit has it under 1, in the share of 1
    that goes on with 0. Mass on anything but 1 to 10 is left out.

    Raises:
        ValueError: no number is among the likeliest tokens.
    """
    first, after_one = likeliest
    mass = {k: probability(first[str(k)]) for k in range(LOWEST, HIGHEST + 1) if str(k) in first}
    total = sum(mass.values())
    if not total:
        raise ValueError("no number from 1 to 10 is among the judge's likeliest tokens")
    if 1 in mass:
        ten = mass[1] * probability(after_one["0"]) if "0" in after_one else 0.0
        mass[1] -= ten
        mass[HIGHEST] = mass.get(HIGHEST, 0.0) + ten
    mean = round(sum(k * m for k, m in mass.items()) / total, 4)
    return mean, f"{_PREFIX}{mean:.4f}"


FORM = VerdictForm(
    "rating",
    {
        "text": Protocol("rating", 2, read_rating, rereads=(1,), upstream=fastchat_rating),
        "choice": Protocol(
            "rating-choice", 1, read_choice, _PREFIX, body={**CONTINUED, **constrained(_CHOICES)}, most_tokens=8
        ),
        # One token is asked for, with the probabilities of the likeliest: the numbers are scored, not generated. Two
        # calls, since a 10 begins like a 1.
        "expected": Protocol(
            "rating-expected",
            1,
            prefix=_PREFIX,
            scored=expected_rating,
            continuations=("1",),
            body={**CONTINUED, **SCORED},
            most_tokens=1,
        ),
    },
)
