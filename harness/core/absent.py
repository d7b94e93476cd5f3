"""Plans that are only looked at: what they name and is not on this machine is known by its name alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_names: ContextVar[dict[str, None] | None] = ContextVar("names", default=None)
"""Of what is absent, where that is allowed; None where it is an error."""


@contextmanager
def absent_allowed() -> Iterator[dict[str, None]]:
    """Within it nothing is downloaded, and a file or hub repository that is not here is no error.

    Yields the names of what is absent, in order. Such a plan must not run: its stages are not those of a pinned plan.
    """
    names: dict[str, None] = {}
    token = _names.set(names)
    try:
        yield names
    finally:
        _names.reset(token)


def may_be_absent() -> bool:
    """Whether a plan is only looked at (`absent_allowed`)."""
    return _names.get() is not None


def note_absent(name: str) -> None:
    """Add a name to what `absent_allowed` yields; only where that is allowed."""
    names = _names.get()
    assert names is not None, "only within absent_allowed"
    names[name] = None
