"""Chat templates that write today's date get a fixed date, so that a conversation has the same tokens every day.

A template gets the date from `strftime_now(format)`. A macro of that name at the template's head takes its place, so
that the date is part of the template's text, of its digest, and of every model folder that the text is written to.
"""

from datetime import date

DEFAULT = date(2024, 7, 26)
"""Without `template_date` in a recipe: the day that Llama 3.2's template writes where it cannot know the date."""
_ASKS = "strftime_now"
_DIRECTIVES = "aAbBdeHIjmMpSuUVwWyY"


def writes_date(template: str) -> bool:
    """Whether the template's text depends on the day."""
    return _ASKS in template and not template.startswith(_HEAD)


def pinned(template: str, day: date = DEFAULT) -> str:
    """The template with `day` for today's date; unchanged if it writes no date or its date is fixed already."""
    if not writes_date(template):
        return template
    forms = [f"%{d}" for d in _DIRECTIVES] + ["%-d", "%-m", "%-I", "%-H", "%-j", "%-y"]
    replacements = "".join(f" | replace('{form}', '{day.strftime(form)}')" for form in forms)
    # Jinja drops the line end after the block, so that the template still begins at a line's start.
    return f"{_HEAD}{{{{ format{replacements} }}}}{{%- endmacro %}}\n{template}"


_HEAD = "{%- macro strftime_now(format) -%}"
