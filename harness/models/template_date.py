"""Chat templates that write today's date get a fixed one: a conversation is the same tokens on every day.

A template asks for the date with `strftime_now(format)`. A macro of that name at its head answers instead; so the date
is part of the template's text, of the digest of that text, and of every model folder that the text is written to.
"""

from datetime import date

DEFAULT = date(2024, 7, 26)
"""Where a recipe sets no `template_date`: the day that Llama 3.2's template writes where it cannot know the date."""
_ASKS = "strftime_now"
_DIRECTIVES = "aAbBdeHIjmMpSuUVwWyY"


def writes_date(template: str) -> bool:
    """Whether what the template writes depends on the day."""
    return _ASKS in template and not template.startswith(_HEAD)


def pinned(template: str, day: date = DEFAULT) -> str:
    """The template with `day` for today's date; as it is where it writes none, or has one fixed already."""
    if not writes_date(template):
        return template
    forms = [f"%{d}" for d in _DIRECTIVES] + ["%-d", "%-m", "%-I", "%-H", "%-j", "%-y"]
    said = "".join(f" | replace('{form}', '{day.strftime(form)}')" for form in forms)
    # The line end goes with the block before it, and the template begins at a line's start, as it did.
    return f"{_HEAD}{{{{ format{said} }}}}{{%- endmacro %}}\n{template}"


_HEAD = "{%- macro strftime_now(format) -%}"
