"""What a run writes down while it goes on, and what a watcher makes of it."""

import json
import os
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.record.folder import RunFolder
from harness.record.stages import PlannedStage, write_stages
from harness.run.events import Advanced, Ended, Event, Started
from harness.run.progress import Recorder, Running, Spent, snapshot
from harness.store.ledger import Ledger, Reply
from harness.store.store import Store

PLAN = {"a": "data", "b": "train", "c": "train", "d": "score"}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A run of four stages, the first of which is done."""
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    write_stages(folder, {i: PlannedStage(kind, f"{kind} {i}") for i, kind in PLAN.items()})
    (folder / "plan.json").write_text('{"cells": []}')
    store = Store(tmp_path / "store")
    store.out("a")
    store.commit("a", {}, {})
    return tmp_path


def recorder(results: Path, events: list[Event]) -> Recorder:
    store = Store(results / "store")
    return Recorder(RunFolder(results / "runs/mine"), store, {"j": "gpt-4"}, events.append)


def begun(results: Path) -> Recorder:
    """One that has heard of a stage."""
    made = recorder(results, [])
    made(Started("c", "train c"))
    return made


def record(results: Path, **prices: float | None) -> None:
    """A reply to each request, with its price in USD."""
    with Ledger(Store(results / "store").ledger) as ledger:
        for request, usd in prices.items():
            key = ("j", request, 0)
            ledger.end(ledger.begin(key), key, Reply("ok", 7.0, "[[7]]", "gpt-4", 10, 2, usd, 0.1, "{}"))


def test_what_runs_and_how_far(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.run.progress._EVERY_S", 0.0)
    events: list[Event] = []
    with recorder(results, events) as listen:
        listen(Started("b", "train b"))
        listen(Advanced("b", 3, 10, "steps", {"loss": 1.5}))
        now = snapshot(results, "mine")
        assert now.alive
        assert {kind: dict(states) for kind, states in now.kinds.items()} == {
            "data": {"done": 1},
            "train": {"running": 1, "waiting": 1},
            "score": {"waiting": 1},
        }
        own = now.running["b"]
        assert (own.title, own.done, own.total, own.unit, own.values) == ("train b", 3, 10, "steps", {"loss": 1.5})
        listen(Ended("b", "train b", "failed", 1.0, "boom"))
        assert snapshot(results, "mine").running == {}
    assert len(events) == 3, "they are passed on"
    after = snapshot(results, "mine")
    assert not after.alive
    assert after.running == {}


def test_what_was_built_since_it_was_written_is_done(results: Path) -> None:
    with recorder(results, []) as listen:
        listen(Started("b", "train b"))
        store = Store(results / "store")
        store.out("b")
        store.commit("b", {}, {})
        now = snapshot(results, "mine")
    assert now.kinds["train"] == {"done": 1, "waiting": 1}
    assert now.running == {}


def test_a_failed_stage_is_one(results: Path) -> None:
    with Ledger(Store(results / "store").ledger) as ledger:
        ledger.stage_ended(ledger.stage_started("b", "mine", "train"), "failed", "boom")
    assert snapshot(results, "mine").kinds["train"] == {"failed": 1, "waiting": 1}


def test_judge_calls_are_those_of_this_run(results: Path) -> None:
    record(results, old=0.5)
    with begun(results):
        record(results, one=0.25, two=None)
        assert snapshot(results, "mine").judges == (Spent("gpt-4", 2, 0.25, 1),)


def test_what_a_killed_driver_left_is_not_running(results: Path) -> None:
    begun(results)
    path = results / "runs/mine/progress.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"process_started": 1.0, "running": {"b": vars(Running("train b", 0.0))}}))
    now = snapshot(results, "mine")
    assert not now.alive
    assert now.kinds["train"] == {"waiting": 2}
    path.write_text(json.dumps(told | {"pid": 2**30}))
    assert not snapshot(results, "mine").alive


def test_a_driver_on_another_machine_is_believed(results: Path) -> None:
    begun(results)
    path = results / "runs/mine/progress.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"host": f"not-{os.uname().nodename}", "pid": 2**30}))
    assert snapshot(results, "mine").alive


def test_it_is_written_once_a_second(results: Path) -> None:
    with begun(results) as listen:
        before = (results / "runs/mine/progress.json").read_text()
        for k in range(100):
            listen(Started(str(k), "s"))
        assert (results / "runs/mine/progress.json").read_text() == before


def test_where_nothing_happens_nothing_is_written(results: Path) -> None:
    with recorder(results, []):
        assert not (results / "runs/mine/progress.json").exists()


def test_no_such_run(results: Path) -> None:
    with pytest.raises(HarnessError, match="no such run"):
        snapshot(results, "yours")
