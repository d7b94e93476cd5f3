"""`artifact:RUN/CELL`: a recipe starts from the model that a cell of a run left."""

from pathlib import Path
from typing import Any

import pytest

from harness.api.exported import export_cell
from harness.api.recipes import load_recipe, plan_recipe
from harness.api.rehearsal import rehearse_recipe
from harness.api.runs import run_recipe
from harness.core.errors import HarnessError
from harness.models.refs import of_run
from harness.recipe.faults import RecipeError

POCKET = "pocket:llama?layers=1&width=16&heads=2"
FIRST: dict[str, Any] = {
    "name": "first",
    "student": POCKET,
    "data": {"train": {"pocket": {"examples": 16}}},
    "train": [{"sft": {"max_steps": 1}}],
    "seed": "$seed",
    "axes": {"seed": [0, 1]},
    "baselines": ["student"],
    "evaluate": [{"pocket": {"questions": 8}}],
}
SECOND: dict[str, Any] = {
    **FIRST,
    "name": "second",
    "student": "$student",
    "seed": 0,
    "axes": {"student": [{"old": "artifact:first/seed=1"}, {"new": POCKET}]},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of the first run."""
    folder = tmp_path_factory.mktemp("results")
    run_recipe(load_recipe(FIRST), results=folder)
    return folder


def test_a_reference_to_a_run_has_a_run_and_a_cell() -> None:
    assert of_run("artifact:first/seed=1") == ("first", "seed=1")
    assert of_run("artifact:name") is None
    assert of_run("artifact:run/") is None
    assert of_run("path:a/b") is None


def test_a_recipe_starts_from_an_old_runs_student(results: Path, tmp_path: Path) -> None:
    run = run_recipe(load_recipe(SECOND), results=results)
    assert run.outcome is not None
    assert not run.outcome.failed
    plan = run.plan
    assert plan is not None
    (start,) = (c.trained[0].stage.inputs["student"] for c in plan.cells if c.name == "student=old")
    assert start.path is not None
    assert start.path.is_relative_to(results / "store/artifacts"), "it lies where the first run left it"
    untrained = next(c.name for c in plan.cells if c.cell.baseline and c.cell.labels == {"student": "old"})
    scores = run.scores.query("category == 'overall'")
    before = run_recipe(load_recipe(FIRST), results=results).scores.query("category == 'overall'")
    of = {"second": scores[scores["cell"] == untrained], "first": before[before["cell"] == "seed=1"]}
    assert list(of["second"]["value"]) == list(of["first"]["value"]), "the untrained row is the trained one of before"
    assert "artifact:first/seed=1" in (run.folder / "recipe.yaml").read_text(), "as the user wrote it"
    card = (export_cell(run, "student=old", tmp_path / "out", results=results) / "README.md").read_text()
    assert "artifact:first/seed=1" in card


def test_it_is_planned_and_rehearsed(results: Path) -> None:
    assert not plan_recipe(load_recipe(SECOND), results=results).absent
    assert not rehearse_recipe(load_recipe(SECOND), results=results).faults


@pytest.mark.parametrize(
    ("reference", "what"),
    [
        ("artifact:nowhere/seed=1", "no such run"),
        ("artifact:first/seed=7", "has no cell 'seed=7'"),
    ],
)
def test_what_is_not_there_is_said(results: Path, reference: str, what: str) -> None:
    recipe = load_recipe(SECOND | {"student": reference, "axes": {}, "name": "third"})
    with pytest.raises(HarnessError, match=what):
        plan_recipe(recipe, results=results)


def test_a_name_without_a_run_is_a_model_of_the_recipe() -> None:
    with pytest.raises(RecipeError, match="no model 'first' in models"):
        load_recipe(SECOND | {"student": "artifact:first", "axes": {}})
