"""Responses that decline: they are counted beside the scores, since a refusal is short, likely and teaches little."""

import re

_NOT = r"(?:cannot|can't|can not|won't|will not|do not|don't|must decline|am unable|am not able|am not)"
_OPENINGS = (
    r"i(?:'m| am) (?:very |so |really )?sorry,? (?:but|i)\b",
    r"(?:sorry|my apologies|apologies|i apologi[sz]e),? (?:but )?(?:i|as)\b",
    r"(?:unfortunately,? )?i (?:cannot|can't|can not|won't|will not|must decline|am unable|am not able)\b",
    r"i(?:'m| am) (?:unable|not able|not programmed)\b",
    rf"as an? (?:ai|artificial intelligence|language model)\b[^.]{{0,60}}? i {_NOT}\b",
)
_REFUSAL = re.compile(r"^\W*(?:" + "|".join(_OPENINGS) + ")", re.IGNORECASE)


def is_refusal(text: str) -> bool:
    """Whether a response opens with one of the usual phrases of refusal (English; a count, not a judgment)."""
    return _REFUSAL.match(text.replace("’", "'")) is not None
