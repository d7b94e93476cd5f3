"""Runs of overlapping recipes on one store at the same time."""

import sqlite3
import subprocess
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from tests.cli import recipes
from tests.cli.command import HARNESS, harness, wait_for

CELLS = {"one": "*seed=0", "two": "*seed=1", "three": "method=sft*", "four": "*"}
"""Every cell is in three of these runs, and the teacher, which all stand on, in all of them."""


def scores(results: Path, run: str) -> pd.DataFrame:
    return pd.read_parquet(results / "runs" / run / "scores.parquet")


@pytest.mark.parametrize(
    "names", [("one", "four"), pytest.param(tuple(CELLS), marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
def test_runs_share_one_store(tmp_path: Path, names: tuple[str, ...]) -> None:
    """All end well, every stage is built once, and the scores are those of a run that was alone."""
    recipe, results, alone = recipes.write(tmp_path), tmp_path / "results", tmp_path / "alone"
    words = {
        n: ["run", str(recipe), "--results", str(results), "--only", CELLS[n], "--set", f"name={n}"] for n in names
    }
    *others, here = names
    running = [subprocess.Popen([*HARNESS, *words[name]], stderr=subprocess.PIPE, text=True) for name in others]
    try:
        for process in running:
            wait_for(process, "start ")
        done = harness(*words[here])
        said = [done.stderr, *(process.communicate(timeout=500)[1] for process in running)]
    finally:
        for process in running:
            process.kill()
    assert [done.returncode, *(process.returncode for process in running)] == [0] * len(names), said
    with sqlite3.connect(results / "store/ledger.sqlite") as db:
        built = Counter(stage for (stage,) in db.execute("SELECT stage FROM stage_runs WHERE status = 'built'"))
    assert set(built) == {path.name for path in (results / "store/artifacts").iterdir()}
    assert set(built.values()) == {1}
    done = harness("run", recipe, "--results", alone)
    assert done.returncode == 0, done.stderr
    reference = scores(alone, "tiny")
    for name in names:
        found = scores(results, name)
        expected = reference[reference["cell"].isin(found["cell"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected)
    assert len(scores(results, "four")) == len(reference)
