"""Training steps as plug-ins: found without torch, and a teacher only where the loss looks at one."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.plan.build import build
from harness.recipe import RecipeError, load
from harness.train.api import steps
from harness.train.settings import StepData, StepSettings

Run = Callable[..., Path]
RECIPE = """\
student: pocket:llama?layers=1&width=16&heads=2&seed=1
teacher: {model: $teacher}
data: {train: {pocket: {examples: 32}}}
train: [{kd: {lambda: $lambda}}]
axes:
  teacher:
    - a: pocket:llama?layers=1&width=16&heads=2&seed=2
    - b: pocket:llama?layers=1&width=16&heads=2&seed=3
  lambda: [0, 0.5]
evaluate: [{pocket: {}}]
"""


def test_every_step_has_settings_of_its_own_name() -> None:
    assert {"sft", "kd", "dae", "command"} <= steps().keys()
    assert all(step.name == name and issubclass(step.settings, StepData) for name, step in steps().items())
    trained_here = {name for name, step in steps().items() if issubclass(step.settings, StepSettings)}
    assert trained_here == steps().keys() - {"command"}
    assert all((step.objective is None) == (name == "command") for name, step in steps().items())


def test_recipes_are_read_without_torch(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("student: pocket:s\ndata: {train: {path: x}}\ntrain: [{kd: {lambda: 0}}]\n")
    code = """if True:
        import pathlib, sys
        from harness.recipe import load
        load(pathlib.Path("r.yaml"), ["evaluate=[{pocket: {}}]"])
        print([m for m in ("torch", "transformers") if m in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]", done.stderr


def test_weight_0_shares_one_training_whoever_the_teacher_is(tmp_path: Path) -> None:
    """What a setting does not touch is not run again."""
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    trained = {cell.name: cell.trained[-1].stage for cell in build(load(path)).cells}
    assert len({stage.id for stage in trained.values()}) == 3
    assert trained["teacher=a,lambda=0"].id == trained["teacher=b,lambda=0"].id
    assert "teacher:teacher" not in trained["teacher=a,lambda=0"].inputs
    assert trained["teacher=a,lambda=0.5"].inputs["teacher:teacher"].title.endswith("seed=2")


@pytest.mark.parametrize(("lambda_", "fault"), [(0, None), (0.5, "kd needs a teacher with a model, for its logits")])
def test_a_missing_teacher_is_a_fault_only_where_it_is_needed(
    tmp_path: Path, lambda_: float, fault: str | None
) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("student: pocket:s\ndata: {train: {path: x}}\nevaluate: [{pocket: {}}]\n")
    sets = [f"train=[{{kd: {{lambda: {lambda_}}}}}]"]
    if fault is None:
        assert load(path, sets).cells
    else:
        with pytest.raises(RecipeError, match=fault):
            load(path, sets)


def test_weight_0_is_fine_tuning(run: Run, curve: Callable[[Path], list[dict[str, Any]]]) -> None:
    plain, weightless = run("plain", max_steps=2), run("weightless", {"lambda": 0}, teacher=None, max_steps=2)
    for want, got in zip(curve(plain), curve(weightless), strict=True):
        assert got == pytest.approx(want)
