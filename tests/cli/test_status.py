"""`harness status`: every stage of a small run by name; of a large one counts, and what is not as it should be."""

import json
from pathlib import Path

import pytest

from harness.record.stages import PlannedStage, write_stages
from harness.store.ledger import Ledger
from harness.store.store import Store
from tests.cli.command import harness


def a_run(results: Path, stages: int) -> None:
    folder = results / "runs/mine"
    folder.mkdir(parents=True)
    write_stages(folder, {f"{i:064x}": PlannedStage("score", f"of cell {i}") for i in range(stages)})
    folder.joinpath("plan.json").write_text('{"cells": []}')
    with Ledger(Store(results / "store").ledger) as ledger:
        ledger.stage_ended(ledger.stage_started(f"{7:064x}", "mine", "score"), "failed", "line 1\nno luck")


@pytest.mark.parametrize("stages", [200, 201])
def test_a_large_run_is_counted(tmp_path: Path, stages: int) -> None:
    a_run(tmp_path, stages)
    done = harness("status", "mine", "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("of cell ") == (200 if stages == 200 else 1), "the one that failed"
    assert "of cell 7 " in done.stdout
    assert "no luck" in done.stdout
    assert (f"0 of {stages} stages done" in done.stdout) == (stages > 200)
    rows = json.loads(harness("status", "mine", "--results", tmp_path, "--format", "json").stdout)
    assert [row["state"] for row in rows].count("failed") == 1
    assert len(rows) == stages
