"""Answers that speak to the judge: texts that hold what a verdict looks like."""

import re

_VERDICT = re.compile(r"\[\[\s*(?:\d+(?:\.\d*)?|[ABC]|[AB]\s*[<>=]{1,2}\s*[AB]|tie)\s*\]\]", re.IGNORECASE)
"""A rating (`[[7]]`), a preference (`[[A]]`, `[[C]]` for a tie), or a graded one (`[[A>>B]]`)."""


def holds_verdict(text: str) -> bool:
    """Whether a judge that repeats this text would repeat a verdict."""
    return _VERDICT.search(text) is not None
