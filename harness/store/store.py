"""The store: finished stage outputs, addressed by the digest of everything that determines them.

An artifact appears whole or not at all. It is built in `partial/ID/out`, synced and renamed to `artifacts/ID`;
`partial/ID/work` holds the files from which a stopped stage resumes, and is removed when the artifact is finished. The
bulk of a finished artifact may be evicted (`store/eviction.py`): the artifact stays, and its record lists the files.
"""

import contextlib
import errno
import fcntl
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
"""Free bytes below which a disk counts as full: a failed write may leave a little room."""


class Busy(HarnessError):
    """Another process is building this artifact."""


class Store:
    """A folder of artifacts, which any number of processes may use at the same time."""

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
        """Whether the artifact exists; files of it may have been evicted."""
        return os.path.exists(f"{self.artifacts}/{stage_id}/{RECORD}")  # faster than Path: called for each stage

    def begun(self, stage_id: str) -> bool:
        """Whether a try that has not finished the artifact left a folder."""
        return os.path.exists(f"{self.partial}/{stage_id}")

    def whole(self, stage_id: str) -> bool:
        """Whether the artifact exists with all its files, so that stages that need it can be built."""
        if not self.has(stage_id):
            return False
        try:
            return not self.record(stage_id).get("evicted")
        except HarnessError:
            return True  # its record is damaged, which its readers report

    def path(self, stage_id: str) -> Path:
        """The artifact's folder, whether or not it exists yet."""
        return self.artifacts / stage_id

    def record(self, stage_id: str) -> dict[str, Json]:
        """The artifact's identity, file digests, versions and times.

        `files` are the present files, `evicted` the removed ones, both with their digests.

        Raises:
            HarnessError: there is no record, or none that `commit` could have written.
        """
        path = self.path(stage_id) / RECORD
        record = read_json(path, _DAMAGED)
        match record:
            case {"identity": {"kind": str()}, "files": {**files}, "provenance": {**provenance}}:
                digests = all(isinstance(digest, str) for digest in files.values())
                if digests and isinstance(provenance.get("seconds", 0), int | float):
                    return dict(record)
        raise HarnessError("not an artifact's record", where=str(path), fix=_DAMAGED)

    def out(self, stage_id: str) -> Path:
        """The folder that a stage fills. Files that an earlier, stopped try left there are removed."""
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
        """Whether a stopped try left files to resume from."""
        return any((self.partial / stage_id / "work").glob("*"))

    @contextlib.contextmanager
    def lock(self, stage_id: str) -> Iterator[None]:
        """Hold the right to build an artifact. The operating system frees it when its owner dies.

        Raises:
            Busy: another process holds it.
        """
        lock = FileLock(self._lock_file(stage_id))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise Busy("another process is building this artifact", where=stage_id[:12]) from None
        try:
            yield
        finally:
            lock.release()

    def building(self, stage_id: str) -> bool:
        """Whether a process holds the lock now; needs read access alone."""
        try:
            handle = os.open(self._lock_file(stage_id), os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def _lock_file(self, stage_id: str) -> Path:
        return self.root / "locks" / f"{stage_id}.lock"

    def commit(self, stage_id: str, identity: Mapping[str, Json], provenance: Mapping[str, Json]) -> None:
        """Make the filled `out` folder the artifact: digest, sync, rename; then drop the work folder.

        If the artifact exists already, its evicted files are put back.
        """
        out = self.partial / stage_id / "out"
        (out / RECORD).unlink(missing_ok=True)  # an input's record, copied or linked along with its files
        files = sorted(p for p in out.rglob("*") if p.is_file())
        digests = {p.relative_to(out).as_posix(): file_digest(p) for p in files}
        record = {"id": stage_id, "identity": dict(identity), "files": digests, "provenance": dict(provenance)}
        (out / RECORD).write_text(_text(record))
        for file in [*files, out / RECORD]:
            _sync(file)
        for folder in [*sorted((p for p in out.rglob("*") if p.is_dir()), reverse=True), out]:
            _sync(folder)
        if self.has(stage_id):
            self._put_back(stage_id, digests, provenance)
        else:
            shutil.rmtree(self.path(stage_id), ignore_errors=True)  # a folder without its record is no artifact
            os.rename(out, self.path(stage_id))
            _sync(self.artifacts)
        shutil.rmtree(self.partial / stage_id, ignore_errors=True)

    def _put_back(self, stage_id: str, digests: Mapping[str, str], provenance: Mapping[str, Json]) -> None:
        """Move evicted files from the `out` folder back to the artifact; its other files stay as they are.

        The record is replaced last, so that a kill in between leaves an evicted artifact. The new record says when and
        where the files were made again, and which of them differ from the evicted ones.
        """
        record, out, folder = self.record(stage_id), self.partial / stage_id / "out", self.path(stage_id)
        present, evicted = record["files"], record.pop("evicted")
        again = {name: digest for name, digest in digests.items() if name not in present}
        for name in evicted.keys() - again.keys():
            (folder / name).unlink(missing_ok=True)  # a kill may have left it
        for name in again:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(out / name, folder / name)
        for parent in {p for name in again for p in (folder / name).parents if p.is_relative_to(folder)}:
            _sync(parent)
        changed = sorted(name for name in evicted | again if evicted.get(name) != again.get(name))
        rebuilt = [*record.get("rebuilt", []), {"provenance": dict(provenance), "changed": changed}]
        self.rewrite(stage_id, record | {"files": present | again, "rebuilt": rebuilt})

    def rewrite(self, stage_id: str, record: Mapping[str, Json]) -> None:
        """Replace the record of an artifact whose lock is held; a kill leaves the old record or the new."""
        new = self.partial / stage_id / RECORD
        new.parent.mkdir(exist_ok=True)
        new.write_text(_text(record))
        _sync(new)
        os.replace(new, self.path(stage_id) / RECORD)
        _sync(self.path(stage_id))
        with contextlib.suppress(OSError):  # not empty: a stopped try left files to resume from
            new.parent.rmdir()


def _text(record: Mapping[str, Json]) -> str:
    return json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_full(path: Path) -> bool:
    """Whether the disk under a file or folder has no room left."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free < _NO_ROOM


def disk_full(where: str) -> HarnessError:
    """The fault of a full disk."""
    return HarnessError("the disk is full", where=where, fix="Free some space and run again: what is finished is kept.")


def store_fault(error: OSError, root: Path) -> HarnessError:
    """The message to the user when the store's disk is full or cannot be written."""
    where = str(error.filename or root)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(where)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return HarnessError(
            "cannot write to the store", where=where, fix="Make the folder writable, or name another with --results."
        )
    return HarnessError(f"cannot use the store ({error.strerror or error})", where=where)
