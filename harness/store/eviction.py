"""Evicting the bulk of a finished artifact: its weights go, its record and its small files stay.

The record says first that the files are evicted, then they go. A kill in between leaves an evicted artifact with files
that nobody counts on; the next eviction removes them.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from harness.core.canonical import Json
from harness.store.store import Busy, Store

Choose = Callable[[Iterable[str]], set[str]]
"""Of an artifact's files, those that nobody wants just now."""


def evict(store: Store, stage: str, choose: Choose, note: Callable[[set[str]], Mapping[str, Json]]) -> int | None:
    """Remove files of an artifact; `note` gives what its record is to say of them from then on.

    `choose` is asked twice, before the record says that the files are evicted and after it. A run that begins to want
    them in between is seen by the second call, and the files stay. A run that begins later reads in the record that
    they are evicted, and makes them again.

    Returns:
        Bytes that this freed (a file that has another name frees none); None where nothing was to go, or a process is
        making the artifact just now.
    """
    try:
        with store.lock(stage):
            if not store.has(stage):
                return None
            record = store.record(stage)
            gone = choose(record["files"])
            if gone:
                store.rewrite(stage, _without(record, gone) | dict(note(gone)))
                if gone - choose(record["files"]):
                    store.rewrite(stage, record)
                    return None
            return _remove(store.path(stage), {*record.get("evicted", {}), *gone})
    except Busy:
        return None


def _without(record: Mapping[str, Json], gone: set[str]) -> dict[str, Json]:
    files = {name: digest for name, digest in record["files"].items() if name not in gone}
    evicted = record.get("evicted", {}) | {name: record["files"][name] for name in gone}
    return {**record, "files": files, "evicted": evicted}


def _remove(folder: Path, names: set[str]) -> int | None:
    """Bytes freed; None where none of the files was there."""
    there = [path for name in sorted(names) if (path := folder / name).exists()]
    freed = 0
    for path in there:
        found = path.lstat()
        path.unlink()
        freed += found.st_blocks * 512 if found.st_nlink == 1 else 0
    for top in {folder / Path(name).parts[0] for name in names}:
        if top.is_dir() and not any(p.is_file() for p in top.rglob("*")):
            shutil.rmtree(top)
    return freed if there else None
