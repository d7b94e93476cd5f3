"""Judge calls that wait in a batch at their endpoint: tables of the ledger.

A batch has a name of ours before anything is sent. Its calls are claimed under that name, so that no other stage or run
submits them; then the endpoint makes the batch, with the name in its metadata, and its id is written down. A
process that is killed in between leaves a name without an id, and whoever takes up its calls looks at the endpoint for
the name.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from harness.store.ledger import FORGET_CALL, RECORDED, CallKey, Ledger, is_alive, now, this_process


@dataclass(frozen=True)
class BatchRow:
    """A batch as the ledger knows it."""

    batch: str | None
    """Its id at the endpoint; None until it is known."""
    made_at: str
    submitting: bool
    """The process that claimed it still runs, and has not given up."""


class Batches:
    """The tables, in a ledger that several threads and processes may share.

    Raises:
        HarnessError: (every method) the ledger cannot be written.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def claim(self, name: str, calls: Sequence[CallKey]) -> list[str | None]:
        """Put calls into a new batch, but for those that are recorded or in another batch.

        Returns:
            For each call the name of its batch; None where its reply is recorded.
        """
        with self._ledger.transaction("BEGIN IMMEDIATE") as db:
            placed = [_place(db, call) for call in calls]
            new = [call for call, place in zip(calls, placed, strict=True) if place == ""]
            if new:
                db.execute("INSERT INTO batches VALUES (?, NULL, ?, ?, ?, ?)", (name, *this_process(), now()))
                db.executemany("INSERT INTO batch_calls VALUES (?, ?, ?, ?)", [(*call, name) for call in new])
        return [name if place == "" else place for place in placed]

    def find(self, name: str) -> BatchRow | None:
        """A batch; None where its claim was given up."""
        query = "SELECT batch, made_at, pid, process_started, host FROM batches WHERE name = ?"
        with self._ledger.transaction() as db:
            row = db.execute(query, (name,)).fetchone()
        return BatchRow(row[0], row[1], row[0] is None and is_alive(*row[2:])) if row else None

    def submitted(self, name: str, batch: str) -> None:
        """Write down the id that the endpoint has given a batch."""
        with self._ledger.transaction("BEGIN IMMEDIATE") as db:
            db.execute("UPDATE batches SET batch = ? WHERE name = ?", (batch, name))

    def doubt(self, name: str) -> None:
        """Write down that nobody submits a batch any more: whoever asks next looks whether the endpoint has it."""
        with self._ledger.transaction("BEGIN IMMEDIATE") as db:
            db.execute("UPDATE batches SET host = '' WHERE name = ?", (name,))

    def give_up(self, name: str) -> None:
        """Free the calls of a batch that the endpoint does not have."""
        with self._ledger.transaction("BEGIN IMMEDIATE") as db:
            if db.execute("DELETE FROM batches WHERE name = ? AND batch IS NULL", (name,)).rowcount:
                db.execute("DELETE FROM batch_calls WHERE name = ?", (name,))

    def free(self, name: str, calls: Sequence[CallKey]) -> None:
        """Free calls that their batch has brought no reply to: they may be put into another."""
        with self._ledger.transaction("BEGIN IMMEDIATE") as db:
            db.executemany(f"{FORGET_CALL} AND name = ?", [(*call, name) for call in calls])


def _place(db: sqlite3.Connection, call: CallKey) -> str | None:
    """The name of a call's batch, "" where it is in no batch, None where its reply is recorded."""
    if db.execute(RECORDED, call).fetchone():
        return None
    query = "SELECT name FROM batch_calls WHERE judge = ? AND request = ? AND repeat = ?"
    row = db.execute(query, call).fetchone()
    return str(row[0]) if row else ""
