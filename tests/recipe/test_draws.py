"""What a draw makes anew, what it leaves, and which cells it adds."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.plan.build import Plan, build
from harness.recipe import Recipe, load
from harness.recipe.draws import redrawn, undrawn
from harness.recipe.faults import RecipeError

Load = Callable[..., Recipe]
QUICKSTART = Path(__file__).parents[2] / "recipes/quickstart.yaml"
SEEDS = ("axes.seed=[0, 1, 2]", "seed=$seed", "draws=1")
"""The quickstart with three trainings in the place of its draws; a later `draws` has both."""
GIVEN = """\
student: hf:org/student
teacher: hf:org/teacher
data: {train: {path: rows.jsonl}, prompts: {path: prompts.jsonl, limit: 5}}
train: [{kd: {}}]
evaluate: [{quiz: {}}]
draws: 2
"""


@pytest.fixture(scope="module")
def written() -> Plan:
    return build(load(QUICKSTART, SEEDS))


def test_the_first_draw_is_the_recipe_as_written(written: Plan) -> None:
    plan = build(load(QUICKSTART, [*SEEDS, "draws=3"]))
    assert plan.recipe.axes["draw"] == ["0", "1", "2"]
    ids = {c.name.removesuffix(",draw=0"): [s.id for s in c.ends] for c in plan.cells if c.cell.labels["draw"] == "0"}
    assert ids == {c.name: [s.id for s in c.ends] for c in written.cells}
    assert len(plan.stages) == 3 * len(written.stages), "a draw of everything shares nothing"


def test_a_single_draw_is_no_axis(written: Plan) -> None:
    plan = build(load(QUICKSTART, [*SEEDS, "draws=1"]))
    assert [c.name for c in plan.cells] == [c.name for c in written.cells]
    assert list(plan.stages) == list(written.stages)


@pytest.mark.parametrize(
    ("source", "same", "new"),
    [
        ("training", {"dataset", "respond"}, {"pocket_model": 1, "train": 16}),
        ("data", {"pocket_model"}, {"dataset": 3, "respond": 3, "train": 16}),
        ("teacher", set(), {"pocket_model": 2, "dataset": 2, "respond": 3, "train": 17}),
        ("responses", {"dataset", "respond", "pocket_model", "train"}, {}),  # it answers greedily: nothing is drawn
    ],
)
def test_a_source_alone(written: Plan, source: str, same: set[str], new: dict[str, int]) -> None:
    plan = build(load(QUICKSTART, [*SEEDS, f"draws={{n: 2, of: [{source}]}}"]))
    made = Counter(stage.kind for i, stage in plan.stages.items() if i not in written.stages)
    assert {kind: made[kind] for kind in new} == new
    assert not same & set(made)


def test_sampled_responses_are_drawn_anew() -> None:
    plan = build(load(QUICKSTART, [*SEEDS, "teacher.responses.temperature=1.0", "draws={n: 2, of: [responses]}"]))
    assert Counter(s.kind for s in plan.stages.values())["respond"] == 2 * 3


def test_the_teachers_rows_are_not_the_datas(load_text: Load) -> None:
    text = """\
student: pocket:llama
teacher: artifact:t
models: {t: {base: "pocket:llama", data: {train: {path: rows.jsonl, limit: 5}}, train: [{sft: {}}]}}
data: {train: {path: rows.jsonl, limit: 5}}
train: [{kd: {}}]
evaluate: [{quiz: {}}]
"""
    of_data = load_text(text + "draws: {n: 2, of: [data]}").cells[1].settings
    assert (of_data.data_seed, of_data.models["t"].data_seed) == (redrawn(0, 1), 0)
    of_teacher = load_text(text + "draws: {n: 2, of: [teacher]}").cells[1].settings
    assert (of_teacher.data_seed, of_teacher.models["t"].data_seed) == (0, redrawn(0, 1))


def test_equal_seeds_stay_equal_and_draws_differ() -> None:
    assert [redrawn(s, 0) for s in (0, 7)] == [0, 7]
    assert redrawn(7, 1) == redrawn(7, 1)
    assert len({redrawn(s, d) for s in (0, 7) for d in (0, 1, 2)}) == 6


def test_an_untrained_model_is_a_row_in_each_draw_that_makes_it_anew() -> None:
    everything = load(QUICKSTART, [*SEEDS, "draws=2"]).baselines
    assert [c.name for c in everything][:3] == ["student,draw=0", "student,draw=1", "teacher=strong,draw=0"]
    teachers = load(QUICKSTART, [*SEEDS, "draws={n: 2, of: [teacher]}"]).baselines
    assert [c.name for c in teachers][:2] == ["student", "teacher=strong,draw=0"]
    assert [c.name for c in load(QUICKSTART, [*SEEDS, "draws={n: 2, of: [responses]}"]).baselines][:2] == [
        "student",
        "teacher=strong",
    ]


def test_what_cannot_be_drawn_is_said(load_text: Load) -> None:
    cell = load_text(GIVEN).cells[0].settings
    assert list(undrawn(cell, ["training", "data", "teacher"])) == [
        "The teacher hf:org/teacher is the same in every draw: its weights are given.",
        "The student starts from hf:org/student in every draw: its weights are given.",
        "data.train has the same rows in every draw: they are read whole (`limit` draws a sample).",
    ]
    assert list(undrawn(cell, ["responses"])) == []
    recorded = (
        load_text(
            GIVEN.replace("teacher: hf:org/teacher", "teacher: {recorded: {path: r.jsonl}}").replace(
                "kd: {}", "sft: {data: teacher}"
            )
        )
        .cells[0]
        .settings
    )
    assert list(undrawn(recorded, ["teacher"])) == ["The teacher's responses are recorded: no draw makes others."]


def test_a_seed_that_is_no_number_is_left_for_the_plan_to_tell() -> None:
    recipe = load({"student": "pocket:llama?seed=x", "evaluate": [{"pocket": {}}], "draws": 2})
    with pytest.raises(HarnessError, match="`seed` must be a whole number, not 'x'"):
        build(recipe)


def test_too_many_cells(load_text: Load) -> None:
    with pytest.raises(RecipeError, match="make 120000 cells"):
        load_text(
            "student: pocket:llama\nevaluate: [{quiz: {}}]\ndraws: 100\nseed: $seed\naxes: {seed: ["
            + ", ".join(map(str, range(1200)))
            + "]}\n"
        )
