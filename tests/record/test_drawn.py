"""Which training, teacher, data and responses a cell stands on, counted over its replicates."""

from pathlib import Path

import pytest

from harness.plan.build import PlannedCell, build
from harness.recipe import load
from harness.record.drawn import sources

RECIPES = Path(__file__).parents[2] / "recipes"


def cells(recipe: str, *sets: str, only: str = "*") -> list[PlannedCell]:
    return list(build(load(RECIPES / f"{recipe}.yaml", sets), only=only).cells)


def counts(planned: list[PlannedCell]) -> dict[str, int]:
    found = [sources(cell) for cell in planned]
    return {source: len({of[source] for of in found}) for source in found[0]}


STRONG_KD = "teacher=strong,method=kd,data=x1*"


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        (["draws=1"], {"training": 3, "teacher": 1, "data": 1}),
        (["draws=4"], {"training": 12, "teacher": 4, "data": 4}),
        (["draws={n: 4, of: [teacher]}"], {"training": 12, "teacher": 4, "data": 1}),
        (["draws={n: 4, of: [data]}"], {"training": 12, "teacher": 1, "data": 4}),
        (["draws={n: 4, of: [training]}"], {"training": 12, "teacher": 1, "data": 1}),
        (
            ["draws={n: 4, of: [responses]}", "teacher.responses.temperature=0.7"],
            {"training": 12, "teacher": 1, "data": 1, "responses": 4},
        ),
    ],
)
def test_what_draws_make_anew_is_counted(sets: list[str], expected: dict[str, int]) -> None:
    seeds = ("axes.seed=[0, 1, 2]", "seed=$seed")
    assert counts(cells("quickstart", *seeds, *sets, only=STRONG_KD)) == expected


def test_stored_targets_and_mixes_have_teachers_and_data_too() -> None:
    dae = cells("pocket-dae-ratio", "draws=2", only="domain_ratio=0.25,architecture=moe*")
    assert counts(dae) == {"training": 6, "teacher": 2, "data": 2}


def test_a_student_that_is_its_own_reference_is_no_teacher() -> None:
    one, other = cells("pocket-dae-ratio", only="domain_ratio=0.25,architecture=dense,seed=[01]")
    # The reference is each seed's own KD student, the expert and the generalist are the same for both.
    assert sources(one)["teacher"] == sources(other)["teacher"]


def test_an_untrained_student_has_what_it_was_made_from() -> None:
    student = cells("quickstart", only="student*")
    assert counts(student) == {"training": 3, "data": 3}
    (given,) = cells("quickstart", "draws=1", "student=pocket:llama", only="student*")
    assert sources(given) == {}


def test_recorded_responses_are_a_single_teacher(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"instruction": "a", "output": "b"}\n{"instruction": "c", "output": "d"}\n')
    recipe = {
        "student": "pocket:llama",
        "teacher": {"recorded": {"path": str(rows), "limit": 1}},
        "train": [{"sft": {"data": "teacher"}}],
        "evaluate": [{"pocket": {}}],
        "draws": 3,
    }
    assert counts(list(build(load(recipe)).cells)) == {"training": 3, "teacher": 1, "data": 3}
