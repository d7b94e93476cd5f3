"""Evict the bulk of a finished artifact: its weights are removed, its record and its small files stay.

The record lists the files as evicted before they are removed. A kill in between leaves files that no run relies on; the
next eviction removes them.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from harness.core.canonical import Json
from harness.store.store import Busy, Store

Choose = Callable[[Iterable[str]], set[str]]
"""An artifact's files -> those that no run needs now."""


def evict(store: Store, stage: str, choose: Choose, note: Callable[[set[str]], Mapping[str, Json]]) -> int | None:
    """Remove the files of an artifact that `choose` names; `note` makes further entries of its record from the names.

    `choose` is called before and after the record lists the files as evicted. The second call sees a run that came to
    need the files in between, and they stay. A later run reads in the record that they are evicted, and makes them
    again.

    Returns:
        The bytes freed (a file with another name frees none); None if no file was removed, or if a process is making
        the artifact now.
    """
    try:
        with store.lock(stage):
            if not store.has(stage):
                return None
            record = store.record(stage)
            chosen = choose(record["files"])
            if chosen:
                store.rewrite(stage, _without(record, chosen) | dict(note(chosen)))
                if chosen - choose(record["files"]):
                    store.rewrite(stage, record)
                    return None
            return _remove(store.path(stage), {*record.get("evicted", {}), *chosen})
    except Busy:
        return None


def _without(record: Mapping[str, Json], chosen: set[str]) -> dict[str, Json]:
    files = {name: digest for name, digest in record["files"].items() if name not in chosen}
    evicted = record.get("evicted", {}) | {name: record["files"][name] for name in chosen}
    return {**record, "files": files, "evicted": evicted}


def _remove(folder: Path, names: set[str]) -> int | None:
    """The bytes freed; None if no file existed."""
    present = [path for name in sorted(names) if (path := folder / name).exists()]
    freed = 0
    for path in present:
        status = path.lstat()
        path.unlink()
        freed += status.st_blocks * 512 if status.st_nlink == 1 else 0
    for top in {folder / Path(name).parts[0] for name in names}:
        if top.is_dir() and not any(p.is_file() for p in top.rglob("*")):
            shutil.rmtree(top)
    return freed if present else None
