"""Runs called from a program."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.api.recipes import results_folder
from harness.run.events import Began, Ended, Event

RECIPE = {"student": "pocket:llama?layers=1&width=16&heads=2", "evaluate": [{"pocket": {"questions": 8}}]}


def test_a_run_tells_what_happens_and_is_opened(tmp_path: Path) -> None:
    events: list[Began | Event] = []
    run = harness.run_recipe(harness.load_recipe(RECIPE), results=tmp_path, listen=events.append)
    began = events[0]
    assert isinstance(began, Began)
    assert (began.run, began.cells, began.stages, began.to_run) == ("recipe", 1, 4, 4)
    assert sum(isinstance(event, Ended) for event in events) == 4
    assert run.outcome is not None
    assert len(run.outcome.built) == 4
    again = harness.open_run("recipe", tmp_path)
    assert again.outcome is None
    assert again.scores.equals(run.scores)
    assert list(harness.list_runs(tmp_path)["run"]) == ["recipe"]


def test_failed_stages_are_raised_with_the_run_as_far_as_it_is(tmp_path: Path) -> None:
    broken = RECIPE | {"axes": {"student": [{"good": RECIPE["student"]}, {"bad": f"path:{tmp_path / 'model'}"}]}}
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    recipe = harness.load_recipe(broken | {"student": "$student"})
    with pytest.raises(harness.StagesFailed, match=r"1 stage\(s\) failed, 2 did not run for it") as caught:
        harness.run_recipe(recipe, results=tmp_path / "results")
    assert set(caught.value.run.scores["cell"]) == {"student=good"}
    assert [cell.cell for cell in caught.value.run.data.cells if cell.failed] == ["student=bad"]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_all_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    recipe = {
        "student": f"path:{tmp_path / 'student'}",
        "teacher": {"model": f"gguf:{tmp_path / 'teacher.gguf'}"},
        "data": {"train": {"path": str(tmp_path / "train.jsonl")}},
        "train": [{"kd": {"max_steps": 1}}],
        "evaluate": [{"pocket": {"questions": 8}}],
    }
    with pytest.raises(harness.HarnessError, match="3 files or folders are not here") as caught:
        harness.run_recipe(harness.load_recipe(recipe), results=tmp_path / "results")
    assert all(name in str(caught.value) for name in ("student", "teacher.gguf", "train.jsonl"))
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(harness.HarnessError, match="2 files or folders"):
        harness.run_recipe(harness.load_recipe(recipe), results=tmp_path / "results")


def test_a_script_needs_no_guard_of_its_main_module(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"import harness\nprint('once')\nharness.run_recipe(harness.load_recipe({RECIPE!r}))\n")
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["once"]
    assert (tmp_path / "results/runs/recipe/report.html").exists()


def test_where_results_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_RESULTS", raising=False)
    assert results_folder(None) == Path("results")
    monkeypatch.setenv("HARNESS_RESULTS", "elsewhere")
    assert results_folder(None) == Path("elsewhere")
    assert results_folder("here") == Path("here")


def test_names_are_those_of_the_package() -> None:
    assert all(callable(getattr(harness, name)) for name in harness.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        harness.nothing  # noqa: B018
