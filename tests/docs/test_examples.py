"""The examples run: five scripts and a notebook, one after the other over one results folder."""

import ast
import json
import os
import runpy
from pathlib import Path

import matplotlib as mpl
import pytest

from harness.recipe import load

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = {
    "first_run.py": "built: kd teacher=short,method=kd",
    "what_would_it_take.py": "4 seed(s):",
    "is_it_better.py": "held_out_nll: not worse than 0.1",
    "which_teacher.py": "teachers.html",
    "own_loss.py": "1 focal",
}
"""Each script and a part of what it prints; the first of them does the run that the others read."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of all examples."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(autouse=True)
def there(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples look for their results where the environment says, and find no screen to draw on."""
    monkeypatch.setenv("HARNESS_RESULTS", str(results))
    mpl.use("agg")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_runs_and_prints_what_it_says(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert SCRIPTS[script] in capsys.readouterr().out


def test_every_script_is_short_says_how_to_run_it_and_is_here() -> None:
    scripts = {path.name: path.read_text() for path in EXAMPLES.glob("*.py") if path.name != "focal.py"}  # a plug-in
    assert scripts.keys() == SCRIPTS.keys()
    assert all(len(text.splitlines()) <= 30 for text in scripts.values())
    assert all(f"    python examples/{name}\n" in text for name, text in scripts.items())


def test_the_recipe_is_checked() -> None:
    assert load(EXAMPLES / "tiny.yaml").summary == "ok, 6 cells (teacher 3 x method 2), 4 baselines"


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its code cells, in order, as a kernel would: the value of a cell's last expression is shown."""
    monkeypatch.chdir(EXAMPLES)
    before = set(os.listdir())
    notebook = json.loads((EXAMPLES / "first_ablation.ipynb").read_text())
    names: dict[str, object] = {}
    shown = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            *steps, last = ast.parse("".join(cell["source"])).body
            if not isinstance(last, ast.Expr):
                steps.append(last)
            exec(compile(ast.Module(steps, []), "cell", "exec"), names)
            if isinstance(last, ast.Expr):
                shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
    assert len(shown) == 7
    assert "ok, 6 cells" in capsys.readouterr().out
    assert set(os.listdir()) == before
