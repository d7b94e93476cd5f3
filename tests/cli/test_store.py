import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.core.errors import HarnessError
from harness.record.stages import PlannedStage, write_stages
from harness.store.store import Store

cli = CliRunner()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A store with a stage that the run `kept` needs, and one that none does."""
    store = Store(tmp_path / "store")
    for stage in ("aaaa", "bbbb"):
        (store.out(stage) / "x").write_text(stage * 1000)
        store.commit(stage, {"kind": "train"}, {"title": f"train {stage}"})
    run = tmp_path / "runs/kept"
    run.mkdir(parents=True)
    (run / "plan.json").write_text('{"cells": []}')
    write_stages(run, {"aaaa": PlannedStage("train", "train aaaa")})
    return tmp_path


def test_gc_says_first_and_removes_only_what_no_run_needs(results: Path) -> None:
    said = cli.invoke(app, ["store", "gc", "--results", str(results), "--format", "csv"])
    assert said.exit_code == 0
    assert "train bbbb" in said.stdout
    assert "aaaa" not in said.stdout
    assert "1 to remove" in said.stderr
    store = Store(results / "store")
    assert store.has("bbbb"), "nothing is removed without --yes"
    done = cli.invoke(app, ["store", "gc", "--yes", "--results", str(results)])
    assert "1 removed" in done.stderr
    assert (store.has("aaaa"), store.has("bbbb")) == (True, False)


def test_gc_removes_nothing_where_a_plan_cannot_be_read(results: Path) -> None:
    (results / "runs/kept/stages.parquet").write_text("{")
    failed = cli.invoke(app, ["store", "gc", "--yes", "--results", str(results)])
    assert isinstance(failed.exception, HarnessError)
    assert "runs/kept/stages.parquet: cannot be read as stages" in str(failed.exception)
    assert Store(results / "store").has("bbbb")


def test_du_says_what_is_not_needed(results: Path) -> None:
    done = cli.invoke(app, ["store", "du", "--results", str(results), "--format", "json"])
    rows = {row["kind"]: row for row in json.loads(done.stdout)}
    assert rows["train"]["artifacts"] == rows["total"]["artifacts"] == 2
    assert 0 <= rows["total"]["unneeded_mb"] <= rows["total"]["size_mb"]


def test_verify_finds_repairs_and_then_is_content(results: Path) -> None:
    ask = ["store", "verify", "--results", str(results), "--format", "csv"]
    assert cli.invoke(app, ask).exit_code == 0
    store = Store(results / "store")
    (store.path("aaaa") / "x").write_text("y")
    found = cli.invoke(app, ask)
    assert isinstance(found.exception, HarnessError)
    assert "changed: x" in found.stdout
    repaired = cli.invoke(app, [*ask, "--repair"])
    assert repaired.exit_code == 0
    assert not store.has("aaaa")
    assert cli.invoke(app, ask).exit_code == 0


def test_no_store_is_told(tmp_path: Path) -> None:
    for command in ("du", "gc", "verify"):
        failed = cli.invoke(app, ["store", command, "--results", str(tmp_path)])
        assert "there is no store here" in str(failed.exception)
