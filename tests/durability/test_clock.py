"""A clock that goes backwards: nothing is built again, nothing takes a negative time, the last try is the last."""

import os
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.run.execute import execute
from harness.run.status import stages_of
from harness.stages import runner
from harness.stages.api import Context, Kind, Stage
from harness.stages.registry import KINDS
from harness.store import ledger
from harness.store.ledger import Ledger
from harness.store.store import Store
from tests.cli.command import executed, harness
from tests.durability.conftest import ONE

YEAR_S = 365 * 86400


def test_results_that_come_from_the_future(results: Path) -> None:
    """As after a clock that was a year ahead and was set right: every time of a file, an artifact and the ledger."""
    for path in results.rglob("*"):
        os.utime(path, (time.time() + YEAR_S,) * 2)
    for record in results.glob("store/artifacts/*/artifact.json"):
        record.write_text(record.read_text().replace('"started": "20', '"started": "21'))
    with sqlite3.connect(results / "store/ledger.sqlite") as db:
        db.execute("UPDATE stage_runs SET started = '21' || substr(started, 3), ended = '21' || substr(ended, 3)")
    page = results / "runs/tiny/report.html"
    before = page.read_bytes()
    done = harness(*ONE, "--results", results)
    assert done.returncode == 0, done.stderr
    assert executed(done) == 0
    assert page.read_bytes() == before
    assert set(stages_of(results, "tiny")["state"]) == {"done"}


class Backwards(datetime):
    """Each look at it shows an hour less."""

    looks = 0

    @classmethod
    def now(cls, tz: Any = None) -> "Backwards":
        cls.looks += 1
        return cls.fromtimestamp(1_900_000_000, UTC) - timedelta(hours=cls.looks)


def test_a_clock_that_runs_backwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within stages and between them; one fails at first and is built by the next run."""
    for module in (runner, ledger):
        monkeypatch.setattr(module, "datetime", Backwards)
    monkeypatch.setattr(time, "time", lambda: Backwards.now().timestamp())
    tries: list[str] = []

    def run(ctx: Context) -> None:
        tries.append(ctx.params["name"])
        if tries == ["first", "second"]:
            raise RuntimeError("once")
        (ctx.out / "x").write_text("x")

    monkeypatch.setitem(KINDS, "fake", Kind("fake", 1, run))
    first = Stage("fake", 1, {"name": "first"}, place="driver")
    second = Stage("fake", 1, {"name": "second"}, {"on": first}, place="driver")
    stages, store = {s.id: s for s in (first, second)}, Store(tmp_path / "store")

    def go() -> Any:
        return execute(stages, store, run="r", jobs=1, gpus=[], listen=lambda _: None)

    assert list(go().failed) == [second.id]
    assert go().built == [second.id]
    assert tries == ["first", "second", "second"]
    assert not go().built
    assert Backwards.looks > 5, "the clock was looked at"
    assert all(store.record(i)["provenance"]["seconds"] >= 0 for i in stages)
    with Ledger(store.ledger) as opened:
        assert not opened.failures()
        assert {stage for stage, _, _ in opened.stage_seconds(latest=9)} == set(stages)
