"""Recipes from dictionaries, and with overrides."""

from pathlib import Path

import pytest

import harness
from harness.recipe import RecipeError, load

RECIPE = {"student": "pocket:llama?layers=1&width=16&heads=2", "evaluate": [{"pocket": {"questions": 8}}]}


def test_a_dictionary_is_the_file_of_its_text(tmp_path: Path) -> None:
    given = harness.load_recipe(RECIPE | {"name": "given"})
    path = tmp_path / "r.yaml"
    path.write_text(given.text)
    written = load(path)
    assert (given.name, given.axes) == (written.name, written.axes)
    assert [cell.settings for cell in given.cells] == [cell.settings for cell in written.cells]


def test_it_may_hold_paths_and_tuples(tmp_path: Path) -> None:
    (cell,) = harness.load_recipe(RECIPE | {"data": {"train": {"path": tmp_path / "x.jsonl"}}, "axes": {}}).cells
    assert cell.settings.data.train is not None
    assert cell.settings.data.train.path == tmp_path / "x.jsonl"
    assert len(harness.load_recipe(RECIPE | {"axes": {"seed": (0, 1)}, "seed": "$seed"}).cells) == 2


@pytest.mark.parametrize(
    ("recipe", "fault"),
    [
        ({"evaluate": [{"pocket": {}}]}, "recipe: missing key 'student'"),
        (RECIPE | {"evaluate": [{"pocket": {"question": 8}}]}, r"recipe: evaluate\[0\].pocket.question: unknown key"),
        (RECIPE | {"seed": object()}, "recipe: a value of type object is none that a recipe can hold"),
        ({}, "recipe: missing key 'student'"),
    ],
)
def test_a_fault_is_a_line_with_its_key(recipe: dict[str, object], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        harness.load_recipe(recipe)


@pytest.mark.parametrize(
    "overrides", [{"seed": 3, "evaluate.0.pocket.questions": 16}, ["seed=3", "evaluate.0.pocket.questions=16"]]
)
def test_overrides(overrides: dict[str, object] | list[str]) -> None:
    recipe = harness.load_recipe(RECIPE, overrides)
    assert recipe.cells[0].settings.seed == 3
    assert "questions: 16" in recipe.text


def test_an_override_is_taken_as_it_is_given() -> None:
    assert harness.load_recipe(RECIPE, {"description": "3: {a}"}).description == "3: {a}"
    with pytest.raises(RecipeError, match="--set seed=\"3\": seed: expected a whole number, not '3'"):
        harness.load_recipe(RECIPE, {"seed": "3"})
