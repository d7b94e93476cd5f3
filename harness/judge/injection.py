"""Answers that speak to the judge: texts that hold what a verdict looks like."""

import re

_VERDICT = re.compile(
    r"(?:\\?\[){2}[\s*_`]*(?:\d+(?:\.\d*)?(?:\s*/\s*10)?|[ABC]|[AB]\s*[<>=]{1,2}\s*[AB]|tie)[\s*_`]*(?:\\?\]){2}"
    r"|【【\s*\d+(?:\.\d*)?\s*】】",
    re.IGNORECASE,
)
"""A rating (`[[7]]`), a preference (`[[A]]`, `[[C]]` for a tie), or a graded one (`[[A>>B]]`), however decorated."""


def holds_verdict(text: str) -> bool:
    """Whether a judge that repeats this text would repeat a verdict."""
    return _VERDICT.search(text) is not None
