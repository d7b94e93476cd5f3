"""Plug-ins and identity: a stage that uses a file of the user's is another one when the file changes."""

import re
from collections import Counter
from pathlib import Path

import pytest

import harness
from harness.core.canonical import canonical
from harness.core.errors import HarnessError
from harness.core.plugins import name_files
from harness.stages.api import Session, Stage
from harness.stages.runner import read_order, run_stage, write_orders
from harness.store.store import Store

PAGE = (Path(__file__).parents[2] / "docs/extensions.md").read_text()
FILES = {m[1]: m[0] for m in re.finditer(r"(?<=```python\n)# (\S+\.py)\n.*?(?=```)", PAGE, re.DOTALL)}
TINY = "pocket:llama?layers=1&width=16&heads=2"
RECIPE = {
    "name": "mine",
    "student": f"{TINY}&seed=1",
    "teacher": {"model": f"{TINY}&seed=2"},
    "data": {"train": {"pocket": {"examples": 16}}, "prompts": {"pocket": {"examples": 8}}},
    "train": [{"dft": {"max_steps": 1}}, {"sft": {"max_steps": 1}}],
    "evaluate": [{"backwards": {}}, {"pocket": {}}],
    "generate": {"engine": "echo"},
    "teachers": {"scores": ["top1", "loss"]},
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    paths = {name: tmp_path / name for name in FILES}
    for name, path in paths.items():
        path.write_text(FILES[name])
    return paths


def stages(files: dict[str, Path], results: Path) -> list[Stage]:
    recipe = harness.load_recipe(RECIPE, plugins=list(files.values()))
    return list(harness.plan_recipe(recipe, results=results).plan.stages.values())


def without_inputs(found: list[Stage]) -> Counter[tuple[str, bytes]]:
    return Counter((stage.kind, canonical(stage.identity | {"inputs": None})) for stage in found)


@pytest.mark.parametrize(
    ("changed", "kinds"),
    [
        ("backwards.py", {"answer": 1, "judge": 1, "score": 1, "contamination": 1}),
        ("dft.py", {"train": 1}),
        ("top1.py", {"score_teacher": 1}),
        ("echo.py", {"answer": 2, "respond": 1}),
        ("pass_fail.py", {}),  # no benchmark of the recipe asks for such verdicts
    ],
)
def test_a_changed_file_changes_the_stages_that_use_it(
    tmp_path: Path, files: dict[str, Path], changed: str, kinds: dict[str, int]
) -> None:
    before = without_inputs(stages(files, tmp_path))
    files[changed].write_text(FILES[changed] + "# changed\n")
    after = without_inputs(stages(files, tmp_path))
    assert Counter(kind for kind, _ in (after - before).elements()) == kinds


def test_a_changed_form_of_verdict_is_another_judge(tmp_path: Path, files: dict[str, Path]) -> None:
    """Verdicts that were recorded by how the file read replies before are not taken for those of today."""
    asked = files["backwards.py"].with_name("asked.py")
    as_asked = 'BENCHMARK = replace(BENCHMARK, name="asked", form=lambda _: "pass_fail", program=None)\n'
    asked.write_text(FILES["backwards.py"] + "\nfrom dataclasses import replace\n\n" + as_asked)
    judge = {"model": "some", "base_url": "http://127.0.0.1:9/v1", "protocol": "choice"}
    recipe = {"student": TINY, "evaluate": [{"asked": {}}], "judge": judge}

    def planned() -> tuple[list[Stage], str]:
        plugins = [asked, files["pass_fail.py"]]
        forecast = harness.plan_recipe(harness.load_recipe(recipe, plugins=plugins), results=tmp_path)
        (row,) = forecast.judges
        return list(forecast.plan.stages.values()), row.asked.digest

    before, judge_before = planned()
    files["pass_fail.py"].write_text(FILES["pass_fail.py"] + "# changed\n")
    after, judge_after = planned()
    changed = without_inputs(after) - without_inputs(before)
    assert [kind for kind, _ in changed.elements()] == ["judge"]
    assert judge_before != judge_after


def test_what_uses_no_plugin_is_what_it_was(tmp_path: Path, files: dict[str, Path]) -> None:
    ours = {"train": [{"sft": {}}], "evaluate": [{"pocket": {}}], "teachers": {"scores": ["loss"]}, "generate": {}}
    recipe = RECIPE | ours
    plain, beside = (
        harness.plan_recipe(harness.load_recipe(recipe, plugins=given), results=tmp_path).plan.stages
        for given in ([], list(files.values()))
    )
    assert plain.keys() == beside.keys()


def test_a_later_run_without_it_does_not_know_it(tmp_path: Path, files: dict[str, Path]) -> None:
    """Both runs' workers come from one server, which was started with the first run's plug-ins."""
    recipe = {"student": TINY, "evaluate": [{"pocket": {"questions": 8}}]}
    echoed = recipe | {"generate": {"engine": "echo"}}
    first = harness.run_recipe(harness.load_recipe(echoed, plugins=[files["echo.py"]]), results=tmp_path)
    files["echo.py"].unlink()
    second = harness.run_recipe(harness.load_recipe(recipe), results=tmp_path)
    assert first.plan is not None
    assert second.outcome is not None
    assert len(second.outcome.built) == 3, "the model is there; answers, verdicts and scores are others"
    with pytest.raises(HarnessError, match=r"echo\.py: no such plug-in"):
        harness.load_recipe(echoed, plugins=[files["echo.py"]])


def test_a_file_that_changes_after_the_plan_is_refused(tmp_path: Path, files: dict[str, Path]) -> None:
    store = Store(tmp_path / "store")
    planned = stages(files, tmp_path)
    (trained,) = (s for s in planned if s.kind == "train" and s.params["step"] == "dft")
    write_orders(store, [trained])
    files["dft.py"].write_text(FILES["dft.py"] + "# changed\n")
    order = read_order(store, trained.id)
    assert order.plugins == [files["dft.py"]]
    name_files(order.plugins)
    try:
        with pytest.raises(HarnessError, match=r"dft.py is not the plug-in it was\n  Run the recipe again"):
            run_stage(store, order, Session(), lambda *_, **__: None)
    finally:
        name_files([])
