"""Look after a store: list its artifacts, find damaged ones, and those that no run needs."""

import os
import shutil
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.core.canonical import file_digest
from harness.core.errors import HarnessError
from harness.store.store import RECORD, Busy, Store


@dataclass(frozen=True)
class Entry:
    """An artifact, or the files that a stopped stage left to resume from."""

    stage: str
    kind: str
    """The stage's kind; `partial` for a stopped stage."""
    title: str
    bytes: int
    """Bytes that its removal frees; a file that several artifacts hold (hard links) counts for the first of them."""


@dataclass(frozen=True)
class Damage:
    """An artifact whose files are no longer the stored ones."""

    stage: str
    kind: str
    title: str
    what: str


def entries(store: Store) -> Iterator[Entry]:
    """Everything in the store, sorted by id; a file with several names is counted once."""
    counted: set[tuple[int, int]] = set()
    for folder in sorted(p for p in store.artifacts.iterdir() if p.is_dir()):
        kind, title = _what(store, folder.name)
        yield Entry(folder.name, kind, title, _size(folder, counted))
    for folder in sorted(p for p in store.partial.iterdir() if p.is_dir()):
        yield Entry(folder.name, "partial", "", _size(folder, counted))


def damages(store: Store, stages: Iterable[str]) -> Iterator[Damage]:
    """The artifacts whose files differ in digest from the stored ones."""
    for stage in stages:
        if what := _damage(store, store.path(stage)):
            yield Damage(stage, *_what(store, stage), what)


def discard(store: Store, stage: str) -> bool:
    """Remove an artifact and its partial folder; False if a process is making it now.

    A kill in between leaves the artifact whole or removed.
    """
    try:
        with store.lock(stage):
            scrap = store.partial / stage / "out"
            shutil.rmtree(scrap.parent, ignore_errors=True)
            if store.path(stage).exists():
                scrap.parent.mkdir(parents=True)
                os.rename(store.path(stage), scrap)
                shutil.rmtree(scrap.parent)
            (store.planned / f"{stage}.json").unlink(missing_ok=True)
    except Busy:
        return False
    return True


def unneeded(store: Store, needed: Container[str]) -> Iterator[Entry]:
    """The entries of the store that are not among the needed stages."""
    return (entry for entry in entries(store) if entry.stage not in needed)


def _damage(store: Store, folder: Path) -> str:
    try:
        record = store.record(folder.name)
        files, evicted = record["files"], record.get("evicted", {})
    except HarnessError as error:
        return f"its record cannot be read ({error.what})"
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {RECORD}
    if missing := sorted(files.keys() - present):
        return f"missing: {', '.join(missing)}"
    if unknown := sorted(present - files.keys() - evicted.keys()):  # a kill may leave files that were to be evicted
        return f"not stored with it: {', '.join(unknown)}"
    changed = [name for name, digest in sorted(files.items()) if file_digest(folder / name) != digest]
    return f"changed: {', '.join(changed)}" if changed else ""


def _what(store: Store, stage: str) -> tuple[str, str]:
    try:
        record = store.record(stage)
        return str(record["identity"]["kind"]), str(record["provenance"].get("title", ""))
    except HarnessError:
        return "unknown", ""


def _size(folder: Path, counted: set[tuple[int, int]]) -> int:
    total = 0
    for path in folder.rglob("*"):
        status = path.lstat()
        if (status.st_dev, status.st_ino) not in counted:
            counted.add((status.st_dev, status.st_ino))
            total += status.st_blocks * 512
    return total
