"""The store: finished stage outputs, addressed by the digest of everything that determines them.

An artifact appears whole or not at all. It is built in `partial/ID/out`, synced and renamed to `artifacts/ID`;
`partial/ID/work` holds what a stopped stage resumes from and goes when the artifact is there.
"""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from harness.core.canonical import Json, file_digest
from harness.core.errors import HarnessError
from harness.core.lines import read_json

RECORD = "artifact.json"
_DAMAGED = "`harness store verify` lists what is damaged."
_NO_ROOM = 2**18
"""Bytes. What failed to write a file may have left a little."""


class Busy(HarnessError):
    """Another process is building this artifact."""


class Store:
    """A folder of artifacts. Any number of processes may use one at the same time."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.artifacts = self.root / "artifacts"
        self.planned = self.root / "planned"
        self.partial = self.root / "partial"
        try:
            for folder in (self.artifacts, self.planned, self.partial, self.root / "locks"):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise store_fault(error, self.root) from error

    @property
    def ledger(self) -> Path:
        """The ledger's SQLite file."""
        return self.root / "ledger.sqlite"

    def has(self, stage_id: str) -> bool:
        """Whether the artifact is there."""
        return (self.path(stage_id) / RECORD).exists()

    def path(self, stage_id: str) -> Path:
        """The artifact's folder, whether or not it is there yet."""
        return self.artifacts / stage_id

    def record(self, stage_id: str) -> dict[str, Json]:
        """The artifact's identity, file digests, versions and times.

        Raises:
            HarnessError: it is not there, or is not what `commit` wrote.
        """
        path = self.path(stage_id) / RECORD
        record = read_json(path, _DAMAGED)
        match record:
            case {"identity": {"kind": str()}, "files": {**files}, "provenance": {**made}}:
                digests = all(isinstance(digest, str) for digest in files.values())
                if digests and isinstance(made.get("seconds", 0), int | float):
                    return dict(record)
        raise HarnessError("not an artifact's record", where=str(path), fix=_DAMAGED)

    def out(self, stage_id: str) -> Path:
        """The folder a stage fills. What an earlier, stopped try left there is removed."""
        folder = self.partial / stage_id / "out"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def work(self, stage_id: str) -> Path:
        """The folder whose contents survive a kill, until the artifact is committed."""
        folder = self.partial / stage_id / "work"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def has_work(self, stage_id: str) -> bool:
        """Whether a stopped try left something to resume from."""
        return any((self.partial / stage_id / "work").glob("*"))

    @contextlib.contextmanager
    def lock(self, stage_id: str) -> Iterator[None]:
        """Hold the right to build an artifact. The operating system frees it when its owner dies.

        Raises:
            Busy: another process holds it.
        """
        lock = FileLock(self.root / "locks" / f"{stage_id}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise Busy("another process is building this artifact", where=stage_id[:12]) from None
        try:
            yield
        finally:
            lock.release()

    def commit(self, stage_id: str, identity: Mapping[str, Json], provenance: Mapping[str, Json]) -> None:
        """Make the filled `out` folder the artifact: digest, sync, rename; then drop the work folder."""
        out = self.partial / stage_id / "out"
        files = sorted(p for p in out.rglob("*") if p.is_file())
        digests = {p.relative_to(out).as_posix(): file_digest(p) for p in files}
        record = {"id": stage_id, "identity": dict(identity), "files": digests, "provenance": dict(provenance)}
        (out / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        for file in [*files, out / RECORD]:
            _sync(file)
        for folder in [*sorted((p for p in out.rglob("*") if p.is_dir()), reverse=True), out]:
            _sync(folder)
        os.rename(out, self.path(stage_id))
        _sync(self.artifacts)
        shutil.rmtree(self.partial / stage_id, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_full(path: Path) -> bool:
    """Whether the disk under a file or folder has no room left worth the name."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free < _NO_ROOM


def disk_full(where: str) -> HarnessError:
    """The fault of a full disk."""
    return HarnessError("the disk is full", where=where, fix="Free some space and run again: what is finished is kept.")


def store_fault(error: OSError, root: Path) -> HarnessError:
    """What to tell the user when the store's disk is full or cannot be written."""
    where = str(error.filename or root)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(where)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return HarnessError(
            "cannot write to the store", where=where, fix="Make the folder writable, or name another with --results."
        )
    return HarnessError(f"cannot use the store ({error.strerror or error})", where=where)
