"""A reasoning model's reply without its thoughts, which some servers leave in the text."""

import re

_TAG = r"think(?:ing)?|thoughts?|seed:think|reasoning"
_BEGIN = re.compile(
    rf"^[ \t]*(?:<(?:{_TAG})>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|channel\|>analysis)", re.M | re.I
)
_END = re.compile(
    rf"</(?:{_TAG})>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|channel\|>final<\|message\|>", re.IGNORECASE
)


def said(reply: str) -> str:
    """The reply without its thoughts: the text after the last end of a thought.

    A template may have begun the thought in the prompt, so that the reply holds its end only.

    Raises:
        ValueError: a thought begins at the start of a line and never ends.
    """
    *_, end = [0, *(match.end() for match in _END.finditer(reply))]
    rest = reply[end:]
    if _BEGIN.search(rest):
        raise ValueError("a thought in the reply has no end")
    return rest


def holds_thoughts(text: str) -> bool:
    """Whether a text holds thoughts, ended or not."""
    try:
        return said(text) != text
    except ValueError:
        return True
