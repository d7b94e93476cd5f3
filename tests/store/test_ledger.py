"""The ledger keeps what was paid for: through kills, threads, processes and faults of the disk."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.store.ledger import CallKey, InFlight, JudgeCost, Ledger, Reply

KEY = ("judge", "request", 0)
REPLY = Reply("ok", 7.0, "Rating: [[7]]", "gpt-4-0613", 100, 20, 0.5, 1.5, '{"messages": []}')


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "store" / "ledger.sqlite")


def keep(ledger: Ledger, reply: Reply = REPLY, key: CallKey = KEY) -> None:
    ledger.end(ledger.begin(key), key, reply)


def test_a_recorded_reply_comes_back_whole(ledger: Ledger) -> None:
    keep(ledger)
    ledger.close()
    found = Ledger(ledger.path).recorded("judge", [("request", 0), ("request", 1), ("other", 0)])
    assert found.keys() == {("request", 0)}
    assert found["request", 0] == REPLY
    (asked_at,) = sqlite3.connect(ledger.path).execute("SELECT asked_at FROM judge_calls").fetchone()
    assert asked_at.startswith("20")


def test_judges_and_repeats_are_apart(ledger: Ledger) -> None:
    keep(ledger)
    keep(ledger, replace(REPLY, value=3.0), ("judge", "request", 1))
    assert ledger.recorded("another judge", [("request", 0)]) == {}
    assert ledger.recorded("judge", [("request", 1)])["request", 1].value == 3.0


def test_a_failure_has_no_value(ledger: Ledger) -> None:
    keep(ledger, replace(REPLY, status="unparseable", value=None, price_usd=None))
    kept = ledger.recorded("judge", [("request", 0)])["request", 0]
    assert (kept.status, kept.value, kept.price_usd) == ("unparseable", None, None)


def test_the_first_reply_stays(ledger: Ledger) -> None:
    keep(ledger)
    keep(ledger, replace(REPLY, value=1.0))
    assert ledger.recorded("judge", [("request", 0)])["request", 0].value == 7.0


def test_costs_per_judge(ledger: Ledger) -> None:
    keep(ledger)
    keep(ledger, replace(REPLY, price_usd=None), ("judge", "request", 1))
    keep(ledger, replace(REPLY, price_usd=0.25), ("b", "request", 0))
    assert ledger.costs() == [JudgeCost("b", 1, 100, 20, 0.25, 0), JudgeCost("judge", 2, 200, 40, 0.5, 1)]
    assert ledger.costs("b") == [JudgeCost("b", 1, 100, 20, 0.25, 0)]
    assert ledger.costs("none") == []


def test_calls_under_way_here_are_not_interrupted(ledger: Ledger) -> None:
    begun = ledger.begin(KEY)
    assert ledger.interrupted() == []
    ledger.end(begun, KEY, None)
    assert sqlite3.connect(ledger.path).execute("SELECT count(*) FROM in_flight").fetchone() == (0,)


def test_a_kill_leaves_the_call_under_way_listed(ledger: Ledger) -> None:
    program = f"""
import os, signal, sys
from pathlib import Path
from harness.store.ledger import Ledger, Reply
ledger = Ledger(Path({str(ledger.path)!r}))
done = ("judge", "done", 0)
ledger.end(ledger.begin(done), done, Reply("ok", 1.0))
ledger.begin(("judge", "lost", 2))
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program])
    assert killed.returncode == -signal.SIGKILL
    (lost,) = ledger.interrupted()
    assert lost == InFlight("judge", "lost", 2, lost.asked_at)
    assert ledger.recorded("judge", [("done", 0), ("lost", 2)]).keys() == {("done", 0)}
    keep(ledger, REPLY, ("judge", "lost", 2))
    assert ledger.interrupted() == [lost]  # asked again: it may have been paid twice, and stays on the list


def test_stage_runs(ledger: Ledger) -> None:
    first = ledger.stage_started("s1", "run", kind="train")
    ledger.stage_ended(first, "failed", "out of memory")
    ledger.stage_ended(ledger.stage_started("s2", "run", kind="score"), "built")
    assert ledger.failures() == {"s1": "out of memory"}
    query = "SELECT kind, run, pid, ended FROM stage_runs ORDER BY id"
    (tried, _) = sqlite3.connect(ledger.path).execute(query).fetchall()
    assert tried[:3] == ("train", "run", os.getpid())
    assert tried[3] is not None
    second = ledger.stage_started("s1", "another run")
    assert second != first
    assert not ledger.failures(), "it is tried again"
    ledger.stage_ended(second, "built")
    assert [(stage, kind) for stage, kind, _ in ledger.stage_seconds(latest=9)] == [("s1", ""), ("s2", "score")]


def test_threads_share_a_ledger_and_processes_a_file(ledger: Ledger) -> None:
    other = Ledger(ledger.path)

    def work(which: Ledger, start: int) -> None:
        for number in range(start, start + 25):
            keep(which, REPLY, ("judge", str(number), 0))

    threads = [threading.Thread(target=work, args=(w, s)) for w, s in ((ledger, 0), (ledger, 25), (other, 50))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.recorded("judge", [(str(k), 0) for k in range(75)])) == 75


def test_a_full_disk_is_one_clear_error_and_loses_nothing(ledger: Ledger) -> None:
    keep(ledger)
    pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
    ledger._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(HarnessError, match="the disk is full") as caught:
        keep(ledger, replace(REPLY, text="x" * 100_000), ("judge", "big", 0))
    assert caught.value.where == str(ledger.path)
    assert "Free some space" in caught.value.fix
    ledger._db.execute("PRAGMA max_page_count = 100000")
    assert ledger.recorded("judge", [("request", 0), ("big", 0)]).keys() == {("request", 0)}
    keep(ledger, REPLY, ("judge", "big", 0))


def test_a_read_only_ledger_is_one_clear_error(ledger: Ledger) -> None:
    ledger._db.execute("PRAGMA query_only = 1")
    with pytest.raises(HarnessError, match="cannot write to the ledger") as caught:
        keep(ledger)
    assert "--results" in caught.value.fix


@pytest.mark.parametrize("place", ["file/ledger.sqlite", "folder"])
def test_a_place_that_cannot_hold_it(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(HarnessError, match="cannot write to the ledger"):
        Ledger(tmp_path / place)


def test_something_else_under_that_name(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_text("not a database, but long enough to be taken for a damaged one" * 20)
    with pytest.raises(HarnessError, match="the ledger cannot be used"):
        Ledger(tmp_path / "ledger.sqlite")


def test_a_schema_that_is_no_text(tmp_path: Path) -> None:
    """SQLite quotes it in its message, which Python then cannot read."""
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    content = path.read_bytes()
    assert b"INDEX" in content
    path.write_bytes(content.replace(b"INDEX", b"\xffNDEX"))
    with pytest.raises(HarnessError, match="the ledger cannot be used"):
        Ledger(path)
