"""A recipe in miniature: small numbers, the same shape, and no judge of the recipe's is asked by it."""

from typing import Any

from harness.recipe.load import Recipe, load
from harness.recipe.miniature import ROWS, StandIns, miniature, one_seed, references

URL = "http://127.0.0.1:1/v1"
STAND_INS = StandIns({"hf:org/name": "path:small"}, URL, 0, {}, serves=False)


def recipe(**more: Any) -> Recipe:
    data = {"train": {"pocket": {"examples": 500}}}
    given = {"name": "r", "student": "hf:org/name", "data": data, "train": [{"sft": {"batch_size": 512}}]}
    return load(given | {"evaluate": [{"pocket": {}}]} | more)


def test_judges_of_panels_and_audits_are_stood_in_for() -> None:
    judge = {"panel": [{"model": "gpt-4o"}, {"model": "gpt-4.1"}], "audit": {"judge": {"model": "gpt-4"}}}
    judged = recipe(evaluate=[{"mt_bench": {"data": "d"}}], judge=judge)
    settings = miniature(judged, judged.cells, STAND_INS).cells[0].settings.judge
    assert settings is not None
    assert [one.base_url for one in settings.asked.values()] == [URL] * 3


def test_numbers_are_small_and_lengths_stay() -> None:
    whole = recipe()
    small = miniature(whole, whole.cells, STAND_INS).cells[0].settings
    training: Any = small.train[0].settings
    assert (small.student.model, training.max_steps, training.batch_size) == ("path:small", 3, 4)
    assert training.max_length == 2048
    assert small.data.train is not None
    assert small.data.train.limit == ROWS


def test_cells_that_differ_in_seeds_alone_are_one() -> None:
    axes = {"seed": [0, 1, 2], "rate": [0.1, 0.2]}
    swept = recipe(axes=axes, seed="$seed", train=[{"sft": {"learning_rate": "$rate"}}])
    assert [cell.name for cell in one_seed(swept.cells)] == ["seed=0,rate=0.1", "seed=0,rate=0.2"]
    assert references(swept.cells[0].settings) == {"hf:org/name"}
