"""Split a response into steps: its lines, and the sentences within a line."""

import re
from bisect import bisect_right
from collections.abc import Sequence

_END = re.compile(
    r"""
    (?: \n                                    # the end of a line, or
      | (?<! \b\d) (?<! \b\d\d) (?<! \b[A-Z]) # neither the number of a list's item nor an initial,
        [.!?]+ ["'\u2019\u201d)\]]*           # the end of a sentence
        (?= \s)
      | [\u3002\uff01\uff1f]+                 # or one that no space follows
    )
    \s*
    """,
    re.VERBOSE,
)


def step_starts(text: str) -> list[int]:
    """The position of each step's first character that is no white space, in order; at least one step."""
    first = len(text) - len(text.lstrip())
    later = (match.end() for match in _END.finditer(text))
    return [first, *(start for start in later if first < start < len(text))]


def step_of(starts: Sequence[int], end: int) -> int:
    """The 0-based step of the character before `end`; white space belongs to the step before it."""
    return max(0, bisect_right(starts, end - 1) - 1)
