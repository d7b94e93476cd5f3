"""Leaves: files and folders that exist before a run, pinned by the digest of their content."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from harness.core.absent import may_be_absent, note_absent
from harness.core.canonical import file_digest
from harness.core.errors import HarnessError
from harness.data.hub import Absent
from harness.stages.api import Stage


def absent(name: str) -> Stage:
    """A leaf for what is not here; only where that is allowed."""
    note_absent(name)
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


def pinned_files(files: Callable[[], Mapping[str, Sequence[Path]]]) -> dict[str, Stage]:
    """Leaves for several files of each role: ROLE, ROLE:00001, ROLE:00002, ...; `files_of` gives them back."""
    try:
        named = files()
    except Absent as error:
        return {"file": absent(error.where)}
    return {
        f"{role}:{k:05d}" if k else role: pinned_file(file) for role, of in named.items() for k, file in enumerate(of)
    }


def files_of(inputs: Mapping[str, Path]) -> dict[str, list[Path]]:
    """What `pinned_files` pinned, in order."""
    files: dict[str, list[Path]] = {}
    for name, path in sorted(inputs.items()):
        files.setdefault(name.partition(":")[0], []).append(path)
    return files


_file_digest = cache(file_digest)


def leaf(content_digest: str, path: Path, title: str) -> Stage:
    """A leaf for content whose digest is known already."""
    return Stage("pinned", 1, {"digest": content_digest}, title=title, path=path.absolute())
