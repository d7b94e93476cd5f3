"""The ledger: every judge call and every stage run, in one SQLite file. Its content cannot be recomputed.

A reply is kept under (judge digest, request digest, repeat) the moment it arrives and is never asked for again. Calls
under way are written down first: a call that a kill leaves there is listed as possibly paid twice. Several threads may
share a `Ledger` and several processes a file (write-ahead log); keep it on a local disk, as SQLite's locks want.
"""

import os
import socket
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal

import psutil

from harness.core.errors import HarnessError, printable
from harness.store.store import disk_full, is_full

_BUSY_TIMEOUT_S = 60.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS judge_calls (
    judge TEXT NOT NULL, request TEXT NOT NULL, repeat INTEGER NOT NULL,
    status TEXT NOT NULL, value REAL, text TEXT NOT NULL, model TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    price_usd REAL, latency_s REAL NOT NULL, request_json TEXT NOT NULL, asked_at TEXT NOT NULL,
    PRIMARY KEY (judge, request, repeat)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS in_flight (
    id INTEGER PRIMARY KEY, judge TEXT NOT NULL, request TEXT NOT NULL, repeat INTEGER NOT NULL,
    pid INTEGER NOT NULL, process_started REAL NOT NULL, host TEXT NOT NULL, asked_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS batches (
    name TEXT PRIMARY KEY, batch TEXT, pid INTEGER NOT NULL, process_started REAL NOT NULL, host TEXT NOT NULL,
    made_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS batch_calls (
    judge TEXT NOT NULL, request TEXT NOT NULL, repeat INTEGER NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (judge, request, repeat)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stage_runs (
    id INTEGER PRIMARY KEY, stage TEXT NOT NULL, kind TEXT NOT NULL, run TEXT NOT NULL,
    pid INTEGER NOT NULL, host TEXT NOT NULL, started TEXT NOT NULL,
    ended TEXT, status TEXT NOT NULL, error TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS stage_runs_by_stage ON stage_runs (stage);
"""
RECORDED = "SELECT 1 FROM judge_calls WHERE judge = ? AND request = ? AND repeat = ?"
FORGET_CALL = "DELETE FROM batch_calls WHERE judge = ? AND request = ? AND repeat = ?"

Status = Literal["ok", "unparseable", "cut", "refused", "failed", "missing", "unfinished"]
"""ok: a value. missing: there was no answer to judge; unfinished: the answer never left its thinking. The others are
final failures of this one question: unparseable: the judge's reply holds no verdict; cut: it ended at its longest;
refused: the judge or its server declines it; failed: the server failed on it in every try."""
CallKey = tuple[str, str, int]
"""(judge, request, repeat): the digest of all that makes the judge (model, parameters, prompts, protocol, epoch), the
digest of the messages, and which of several equal calls it is, from 0."""


@dataclass(frozen=True)
class Reply:
    """What came back from a judge, the value read in it, and what it cost: a row of the ledger, without its key."""

    status: Status
    value: float | None = None
    """None unless status is `ok`."""
    text: str = ""
    """The judge's full reply, or the reason of a failure."""
    model: str = ""
    """The model name that came back."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    price_usd: float | None = None
    """None when no price is known."""
    latency_s: float = 0.0
    request_json: str = ""
    """The request, without keys."""


@dataclass(frozen=True)
class InFlight:
    """A call of a process that is gone: if there was a reply, it is lost and may have been paid."""

    judge: str
    request: str
    repeat: int
    asked_at: str


@dataclass(frozen=True)
class JudgeCost:
    """The cost of one judge so far, over all runs."""

    judge: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    price_usd: float
    """Sum over the calls whose price is known."""
    unpriced: int
    """Calls whose price is not known."""


class Ledger:
    """A ledger file, made when it is not there. One that may not be written can be read.

    Raises:
        HarnessError: (every method) the disk is full, the file cannot be written, is no database, or stays locked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._faults():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                _address(path), uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            if _read_only(path):
                return
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")  # a reply that was paid for survives a power cut
            self._db.executescript(_SCHEMA)

    def recorded(self, judge: str, requests: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Reply]:
        """The recorded replies among (request digest, repeat) pairs."""
        query = f"SELECT {_columns(Reply)} FROM judge_calls WHERE judge = ? AND request = ? AND repeat = ?"  # noqa: S608
        with self.transaction() as db:
            rows = {key: db.execute(query, (judge, *key)).fetchone() for key in requests}
        return {key: Reply(*row) for key, row in rows.items() if row is not None}

    def begin(self, key: CallKey) -> int:
        """Write down that a call is under way; the number names it in `end`. 0 where its reply is recorded already."""
        return self.write(begin=[key])[0]

    def end(self, begun: int, key: CallKey, reply: Reply | None) -> None:
        """End a call: keep its reply, unless another process has recorded one meanwhile. None: it brought no reply."""
        self.write(end=[(begun, key, reply)])

    def write(self, begin: Sequence[CallKey] = (), end: Sequence[tuple[int, CallKey, Reply | None]] = ()) -> list[int]:
        """`begin` and `end` for many calls with one wait for the disk.

        Returns:
            The number of each call that is begun; 0 where its reply is recorded already: it is not to be asked.
        """
        process = this_process()
        row = f"judge, request, repeat, {_columns(Reply)}, asked_at"
        record = f"INSERT OR IGNORE INTO judge_calls ({row}) VALUES ({', '.join('?' * len(row.split(',')))})"  # noqa: S608
        columns = "judge, request, repeat, pid, process_started, host, asked_at"
        started = f"INSERT INTO in_flight ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
        with self.transaction("BEGIN IMMEDIATE") as db:
            db.executemany(record, [(*key, *astuple(reply), now()) for _, key, reply in end if reply is not None])
            db.executemany(FORGET_CALL, [key for _, key, reply in end if reply is not None])
            db.executemany("DELETE FROM in_flight WHERE id = ?", [(begun,) for begun, _, _ in end])
            done = [db.execute(RECORDED, key).fetchone() is not None for key in begin]
            return [
                0 if recorded else db.execute(started, (*key, *process, now())).lastrowid or 0
                for key, recorded in zip(begin, done, strict=True)
            ]

    def interrupted(self) -> list[InFlight]:
        """Calls that were under way when their process died: possibly paid twice when they are asked again."""
        with self.transaction() as db:
            rows = db.execute(
                f"SELECT {_columns(InFlight)}, pid, process_started, host FROM in_flight ORDER BY id"  # noqa: S608
            ).fetchall()
        return [InFlight(*row[:-3]) for row in rows if not is_alive(*row[-3:])]

    def costs(self, judge: str | None = None) -> list[JudgeCost]:
        """The cost of each judge so far, or of the judge with that digest."""
        with self.transaction() as db:
            rows = db.execute(
                "SELECT judge, count(*), sum(prompt_tokens), sum(completion_tokens), total(price_usd),"
                " count(*) - count(price_usd) FROM judge_calls WHERE ?1 IS NULL OR judge = ?1"
                " GROUP BY judge ORDER BY judge",
                (judge,),
            ).fetchall()
        return [JudgeCost(*row) for row in rows]

    def stage_started(self, stage: str, run: str, kind: str = "") -> int:
        """Note that a stage begins; the number names this try in `stage_ended`."""
        with self.transaction() as db:
            done = db.execute(
                "INSERT INTO stage_runs (stage, kind, run, pid, host, started, status, error)"
                " VALUES (?, ?, ?, ?, ?, ?, 'running', '')",
                (stage, kind, run, os.getpid(), socket.gethostname(), now()),
            )
        return int(done.lastrowid or 0)

    def stage_ended(self, row: int, status: str, error: str = "") -> None:
        """Note how a stage ended."""
        with self.transaction() as db:
            db.execute(
                "UPDATE stage_runs SET ended = ?, status = ?, error = ? WHERE id = ?", (now(), status, error, row)
            )

    def failures(self) -> dict[str, str]:
        """The stages whose last try failed, each with its error; of every run."""
        query = (
            "SELECT stage, error FROM stage_runs AS tried WHERE status = 'failed' AND NOT EXISTS"
            " (SELECT 1 FROM stage_runs AS later WHERE later.stage = tried.stage AND later.id > tried.id)"
        )
        with self.transaction() as db:
            return dict(db.execute(query).fetchall())

    def stage_seconds(self, latest: int) -> list[tuple[str, str, float]]:
        """(stage, kind, seconds) of the `latest` tries of each kind that built an artifact, the newest first."""
        query = (
            "SELECT stage, kind, (julianday(ended) - julianday(started)) * 86400 FROM ("
            "SELECT *, row_number() OVER (PARTITION BY kind ORDER BY id DESC) AS place FROM stage_runs"
            " WHERE status = 'built') WHERE place <= ? ORDER BY id DESC"
        )
        with self.transaction() as db:
            return [(stage, kind, float(seconds)) for stage, kind, seconds in db.execute(query, (latest,))]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def transaction(self, begin: str = "BEGIN") -> Iterator[sqlite3.Connection]:
        """All or nothing, one thread at a time. One that reads before it writes is to begin as a writer."""
        with self._lock, self._faults():
            self._db.execute(begin)
            try:
                yield self._db
            except BaseException:
                if self._db.in_transaction:  # SQLite itself rolls back on some faults, a full disk among them
                    self._db.execute("ROLLBACK")
                raise
            self._commit()

    def _commit(self) -> None:
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """A fault that a user can mend becomes a HarnessError with the remedy."""
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:  # the last where SQLite's own message is broken
            raise self._fault(error) from error

    def _fault(self, error: sqlite3.Error | OSError | UnicodeDecodeError) -> HarnessError:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF  # the low byte is the kind, the rest the detail
        where = str(self.path)
        if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and is_full(self.path)):
            return disk_full(where)
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM) or isinstance(
            error, OSError
        ):
            fix = "Make its folder writable, or name another with --results."
            return HarnessError(f"cannot write to the ledger ({error})", where=where, fix=fix)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            fix = "Stop the process that holds it, or keep results on a local disk."
            return HarnessError("another process holds the ledger", where=where, fix=fix)
        fix = "Keep a copy, then see `sqlite3 FILE .recover`; or start a new ledger in another --results folder."
        return HarnessError(f"the ledger cannot be used ({printable(str(error))})", where=where, fix=fix)


def _read_only(path: Path) -> bool:
    return path.is_file() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def _address(path: Path) -> str:
    """As SQLite wants it. What nobody can write is read as it lies there, but for what a kill left beside it."""
    address = path.absolute().as_uri()
    if not _read_only(path):
        return address
    beside = path.with_name(f"{path.name}-wal").exists()
    return f"{address}?mode=ro" if beside else f"{address}?immutable=1"


def _columns(table: type) -> str:
    return ", ".join(f.name for f in fields(table))


def now() -> str:
    """The time (UTC) as the ledger writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def this_process() -> tuple[int, float, str]:
    """What `is_alive` takes: id, start (s since 1970) and host."""
    return os.getpid(), psutil.Process().create_time(), socket.gethostname()


def is_alive(pid: int, started: float, host: str) -> bool:
    """Whether a process still runs; of another machine's nothing is known, so it counts as gone."""
    if host != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(pid).create_time() - started) < 1.0
    except psutil.NoSuchProcess:
        return False
