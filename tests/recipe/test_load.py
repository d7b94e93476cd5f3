"""What a good recipe becomes."""

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.recipe import Cell, Recipe, load

Load = Callable[..., Recipe]

SWEEP = """\
# harness run sweep.yaml
description: ${what}, twice
vars: {what: a sweep, root: /d, n: 7}
student: pocket:s
teacher: $teacher
data:
  train: {path: "${root}/train.jsonl", limit: "${n}"}
  prompts: {pocket: {examples: 5}}
train:
  - sft: {data: $source, learning_rate: 2e-5}
  - kd: {lambda: 0.5}
evaluate:
  - quiz:
  - judged: {data: "${root}/j"}
judge: {model: j-1}
axes:
  teacher: [{small: pocket:t1}, {large: {model: pocket:t2}}]
  source: [train, teacher]
  seed: [0, 1]
seed: $seed
exclude: [{teacher: large, seed: 1}]
baselines: [student, teacher]
"""


def names(cells: list[Cell]) -> list[str]:
    return [cell.name for cell in cells]


def test_golden(load_text: Load) -> None:
    recipe = load_text(SWEEP)
    assert (recipe.name, recipe.description, recipe.text) == ("r", "a sweep, twice", SWEEP)
    assert recipe.axes == {"teacher": ["small", "large"], "source": ["train", "teacher"], "seed": ["0", "1"]}
    assert names(recipe.cells) == [
        "teacher=small,source=train,seed=0",
        "teacher=small,source=train,seed=1",
        "teacher=small,source=teacher,seed=0",
        "teacher=small,source=teacher,seed=1",
        "teacher=large,source=train,seed=0",
        "teacher=large,source=teacher,seed=0",
        "student",
        "teacher=small",
        "teacher=large",
    ]
    assert recipe.summary == "ok, 6 cells (teacher 2 x source 2 x seed 2), 3 baselines"
    cell = recipe.cells[3]
    assert cell.labels == {"teacher": "small", "source": "teacher", "seed": "1"}
    assert cell.settings.student.model == "pocket:s"
    assert cell.settings.teacher is not None
    assert cell.settings.teacher.model == "pocket:t1"
    assert cell.settings.seed == 1
    sft, kd = (step.settings for step in cell.settings.train)
    assert (sft.data, sft.model_dump()["learning_rate"]) == ("teacher", 2e-5)
    assert kd.model_dump(by_alias=True)["lambda"] == 0.5
    assert cell.settings.data.train is not None
    assert (cell.settings.data.train.path, cell.settings.data.train.limit) == (Path("/d/train.jsonl"), 7)
    assert [chosen.name for chosen in cell.settings.evaluate] == ["quiz", "judged"]
    assert cell.settings.evaluate[1].settings.model_dump() == {"data": Path("/d/j"), "questions": None}


def test_baselines_are_untrained_and_named_by_what_determines_them(load_text: Load) -> None:
    student, small, large = load_text(SWEEP).baselines
    assert (student.baseline, student.labels, student.settings.train) == ("student", {}, [])
    assert (small.labels, large.labels) == ({"teacher": "small"}, {"teacher": "large"})
    assert large.settings.student.model == "pocket:t2"
    assert large.settings.train == []
    assert large.settings.judge == student.settings.judge


def test_equal_models_are_one_baseline(load_text: Load) -> None:
    text = """\
student: $student
evaluate: [{quiz: {}}]
axes: {student: [{a: pocket:s}, {b: {model: pocket:s}}, {c: pocket:t}], seed: [0, 1]}
seed: $seed
baselines: [student]
"""
    baselines = load_text(text).baselines
    assert [(c.name, c.settings.student.model) for c in baselines] == [
        ("student=a", "pocket:s"),
        ("student=c", "pocket:t"),
    ]


def test_a_baseline_never_takes_the_name_of_a_cell(load_text: Load) -> None:
    text = "student: $student\nevaluate: [{quiz: {}}]\naxes: {student: [{a: pocket:s}]}\nbaselines: [student]\n"
    assert names(load_text(text).cells) == ["student=a", "student=a,untrained"]


def test_a_baseline_for_each_way_to_evaluate(load_text: Load) -> None:
    text = "student: pocket:s\nevaluate: [{quiz: {examples: $size}}]\naxes: {size: [1, 2]}\nbaselines: [student]\n"
    assert names(load_text(text).baselines) == ["student=1", "student=2"]


def test_a_teacher_without_a_model_is_no_baseline(load_text: Load) -> None:
    text = "student: pocket:s\nteacher: {recorded: {path: x}}\nevaluate: [{quiz: {}}]\nbaselines: [teacher]\n"
    assert load_text(text).baselines == []


def test_a_student_made_by_the_recipe(load_text: Load) -> None:
    text = """\
student: artifact:expert
models: {expert: {base: pocket:b, data: {train: {path: x}}, train: [{sft: {epochs: $epochs}}]}}
evaluate: [{quiz: {}}]
baselines: [student]
seed: $seed
axes: {seed: [0, 1], epochs: [1, 2]}
"""
    recipe = load_text(text)
    assert names(recipe.baselines) == ["student=1", "student=2"], "how it was made depends on the epochs, not the seed"
    made = [cell.settings.models["expert"].train[0].settings for cell in recipe.baselines]
    assert [sft.model_dump()["epochs"] for sft in made] == [1, 2]


def test_without_axes_there_is_one_cell(load_text: Load) -> None:
    recipe = load_text("name: one\nstudent: pocket:s\nevaluate: [{quiz: {}}]\n")
    assert (recipe.name, names(recipe.cells), recipe.summary) == ("one", ["cell"], "ok, 1 cell")
    assert recipe.cells[0].settings.train == []


def test_values_of_an_axis_may_be_patches_lists_and_null(load_text: Load) -> None:
    text = """\
student: pocket:s
data: {train: {path: x}, prompts: $prompts}
train: $train
evaluate: [{quiz: {}}]
axes:
  train: [{none: []}, {one: [{sft: {}}]}]
  prompts: [null, {some: {path: p}}]
"""
    cells = load_text(text).cells
    assert names(cells) == [f"train={t},prompts={p}" for t in ("none", "one") for p in ("null", "some")]
    assert [len(c.settings.train) for c in cells] == [0, 0, 1, 1]
    assert [c.settings.data.prompts is None for c in cells] == [True, False, True, False]


def test_a_value_binds_only_as_a_whole_string(load_text: Load) -> None:
    text = "description: costs $seed or so\nstudent: pocket:s\nevaluate: [{quiz: {}}]\nseed: $seed\naxes: {seed: [3]}\n"
    assert load_text(text).description == "costs $seed or so"


def test_overrides_are_in_the_text_that_is_kept(load_text: Load) -> None:
    sets = ("train.0.sft.epochs=2", "axes.seed=[5]", "exclude=", "vars.root=/e", "judge.model='1e5'")
    recipe = load_text(SWEEP, *sets)
    assert {c.settings.seed for c in recipe.swept} == {5}
    again = load_text(recipe.text)
    assert [c.settings for c in again.cells] == [c.settings for c in recipe.cells]
    assert again.cells[0].settings.judge is not None
    assert again.cells[0].settings.judge.model == "1e5"


def test_anchors(load_text: Load) -> None:
    text = "student: pocket:s\nevaluate: [{quiz: {}}]\ndata: {train: &d {path: x}, domain: *d}\n"
    data = load_text(text).cells[0].settings.data
    assert data.domain == data.train is not None


def test_ten_thousand_cells_load(load_text: Load) -> None:
    tens = list(range(10))
    text = f"""\
student: $student
evaluate: [{{quiz: {{}}}}]
data: {{train: {{pocket: {{examples: 9, seed: $pool}}}}}}
train: [{{sft: {{warmup_steps: $warm, save_every: $every, epochs: $epochs}}}}, {{kd: {{save_every: $every}}}}]
teacher: pocket:t
seed: $seed
baselines: [student, teacher]
axes:
  student: [{{a: pocket:a}}, {{b: pocket:b}}]
  pool: [0, 1, 2, 3, 4]
  warm: {tens}
  every: [1, 2]
  epochs: [1, 2, 3, 4, 5]
  seed: {tens}
"""
    recipe = load_text(text)
    assert len(recipe.swept) == 10_000
    assert len({c.name for c in recipe.cells}) == 10_003


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml")), ids=lambda path: str(path.stem)
)
def test_recipes_that_ship(path: Path) -> None:
    assert load(path).cells
    first = path.read_text().splitlines()[0]
    assert first.startswith(f"# harness run recipes/{path.name}"), "the first comment is the command"


def test_no_module_is_searched_for_the_source_of_what_has_none(
    load_text: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With transformers loaded, which has thousands of modules, that took most of the time."""

    def searched(*_: object, **__: object) -> None:
        raise AssertionError("pydantic looks for docstrings")

    monkeypatch.setattr(inspect, "getmodule", searched)
    assert load_text(SWEEP).cells
