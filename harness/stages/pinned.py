"""Leaves: files and folders that exist before a run, pinned by the digest of their content."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from harness.core.canonical import file_digest
from harness.core.errors import HarnessError
from harness.stages.api import Stage

_met: ContextVar[dict[str, None] | None] = ContextVar("met", default=None)
"""Names of what is absent, where that is allowed; None where it is an error."""


@contextmanager
def absent_allowed() -> Iterator[dict[str, None]]:
    """For a plan that is only looked at: within it, a file or hub model that is not here is a leaf by its name.

    Yields the names that were met, in order. Such a plan must not run: its stages are not those of a pinned one.
    """
    met: dict[str, None] = {}
    token = _met.set(met)
    try:
        yield met
    finally:
        _met.reset(token)


def may_be_absent() -> bool:
    """Whether a plan is only looked at (`absent_allowed`)."""
    return _met.get() is not None


def absent(name: str) -> Stage:
    """A leaf for what is not here; only where that is allowed."""
    met = _met.get()
    assert met is not None, "only within absent_allowed"
    met[name] = None
    return Stage("pinned", 1, {"absent": name}, title=f"{name} (not here)", path=Path(name))


def is_absent(stage: Stage) -> bool:
    """Whether a leaf is one of `absent`."""
    return "absent" in stage.params


def pinned_file(path: Path) -> Stage:
    """A leaf for a file."""
    try:
        return leaf(_file_digest(path), path, path.name)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and may_be_absent():
            return absent(str(path))
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        raise HarnessError(reason, where=str(path), fix="Check the path in the recipe.") from None


_file_digest = cache(file_digest)


def leaf(content_digest: str, path: Path, title: str) -> Stage:
    """A leaf for content whose digest is known already."""
    return Stage("pinned", 1, {"digest": content_digest}, title=title, path=path.absolute())
