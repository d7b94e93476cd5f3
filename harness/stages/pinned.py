"""Leaves: files and folders that exist before a run, pinned by the digest of their content."""

from functools import cache
from pathlib import Path

from harness.core.canonical import file_digest
from harness.core.errors import HarnessError
from harness.stages.api import Stage


@cache
def pinned_file(path: Path) -> Stage:
    """A leaf for a file."""
    try:
        return leaf(file_digest(path), path, path.name)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        raise HarnessError(reason, where=str(path), fix="Check the path in the recipe.") from None


def leaf(content_digest: str, path: Path, title: str) -> Stage:
    """A leaf for content whose digest is known already."""
    return Stage("pinned", 1, {"digest": content_digest}, title=title, path=path.absolute())
