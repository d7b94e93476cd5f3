"""Students that may be absent: their cells are left out and said; what must be there is a fault."""

from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.plan.build import build
from harness.recipe import load

RECIPE = """\
student: $student
axes:
  student:
    - {{here: "pocket:llama?layers=1&width=16&heads=2&seed=0"}}
    - {{gone: {{model: "{gone}", optional: {optional}}}}}
baselines: [student]
data: {{train: {{pocket: {{examples: 4}}}}}}
train: [{{sft: {{}}}}]
evaluate: [{{pocket: {{questions: 8}}}}]
"""


def recipe(folder: Path, gone: str, *, optional: bool) -> Path:
    path = folder / "r.yaml"
    path.write_text(RECIPE.format(gone=gone, optional=str(optional).lower()))
    return path


@pytest.mark.parametrize("gone", ["path:nowhere", "pypi:no_such_package", "gguf:nowhere.gguf"])
def test_cells_of_an_absent_optional_student_are_left_out(tmp_path: Path, gone: str) -> None:
    plan = build(load(recipe(tmp_path, gone, optional=True), []))
    assert [cell.name for cell in plan.cells] == ["student=here", "student=here,untrained"]
    (said,) = plan.left_out
    assert said.startswith("2 cells of an optional student are left out")
    assert gone.partition(":")[2] in said


def test_an_absent_student_is_a_fault_otherwise(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"config\.json is missing"):
        build(load(recipe(tmp_path, "path:nowhere", optional=False), []))


def test_nothing_left_is_a_fault(tmp_path: Path) -> None:
    path = recipe(tmp_path, "path:nowhere", optional=True)
    path.write_text(path.read_text().replace('    - {here: "pocket:llama?layers=1&width=16&heads=2&seed=0"}\n', ""))
    with pytest.raises(HarnessError, match="no student is there"):
        build(load(path, []))


def test_a_student_that_is_there_changes_nothing(tmp_path: Path) -> None:
    path = recipe(tmp_path, "pocket:llama?layers=1&width=16&heads=2&seed=1", optional=True)
    optional = build(load(path, []))
    path.write_text(path.read_text().replace("true", "false"))
    assert list(optional.stages) == list(build(load(path, [])).stages)
    assert not optional.left_out
