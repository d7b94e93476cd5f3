"""`harness run` from end to end in the pocket world; what takes a process of its own is in `test_processes.py`."""

import json
from pathlib import Path

import pandas as pd
import pytest

from harness.record.stages import named_stages, stage_ids
from harness.stages.__main__ import main as run_stages
from tests.cli import recipes
from tests.cli.command import executed, harness


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a finished run of the tiny recipe."""
    folder = tmp_path_factory.mktemp("line")
    done = harness("run", recipes.write(folder), "--results", folder / "results")
    assert done.returncode == 0, done.stderr
    assert executed(done) == len(stage_ids(folder / "results/runs/tiny"))
    return folder / "results"


def test_every_cell_has_a_score_and_every_sample_a_status(results: Path) -> None:
    scores = pd.read_parquet(results / "runs/tiny/scores.parquet")
    cells = {f"method={m},seed={s}" for m in ("sft", "kd") for s in (0, 1)} | {"student", "teacher"}
    assert set(scores["cell"]) == cells
    overall = scores[scores["category"] == "overall"]
    assert (overall["n"] == overall["total"]).all()
    samples = pd.read_parquet(results / "runs/tiny/samples.parquet")
    assert set(samples["status"]) == {"ok"}
    assert set(scores["judge"]) == {"program:pocket"}


def test_run_folder_holds_what_a_reader_needs(results: Path) -> None:
    folder = results / "runs/tiny"
    names = {path.name for path in folder.iterdir()}
    assert {
        "recipe.yaml",
        "run.json",
        "plan.json",
        "stages.parquet",
        "report.html",
        "report.md",
        "samples.csv",
        "scores.csv",
    } <= names
    (verdicts,) = (folder / "pocket/model_judgment").iterdir()
    models = [json.loads(line)["model"] for line in verdicts.read_text().splitlines()]
    assert {models.count(cell) for cell in models} == {32}, "16 questions of two turns, every model in the one file"
    assert len(set(models)) == 6
    run = json.loads((folder / "run.json").read_text())
    assert [c["failed"] for c in run["cells"]] == [None] * 6
    assert {t["steps"] for t in run["training"]} == {3}
    curves = pd.read_parquet(folder / "curves.parquet")
    assert set(curves["metric"]) >= {"loss", "learning_rate", "grad_norm", "agreement/teacher"}


def test_second_run_executes_nothing(results: Path) -> None:
    before = (results / "runs/tiny/report.html").stat().st_mtime_ns
    assert executed(harness("run", results.parent / "tiny.yaml", "--results", results)) == 0
    assert (results / "runs/tiny/report.html").stat().st_mtime_ns == before


def test_the_same_recipe_gives_the_same_scores_to_the_byte(results: Path, tmp_path: Path) -> None:
    done = harness("run", results.parent / "tiny.yaml", "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("scores.csv", "samples.csv"):
        assert (tmp_path / "runs/tiny" / name).read_bytes() == (results / "runs/tiny" / name).read_bytes()
    assert "may differ when run again: Nothing that is known" in " ".join(
        (results / "runs/tiny/report.md").read_text().replace("*", "").split()
    )


def test_a_changed_axis_value_runs_only_what_depends_on_it(results: Path) -> None:
    """A third seed adds two cells: each is train, answer, judge, score; the teacher and the data are there."""
    done = harness("run", results.parent / "tiny.yaml", "--results", results, "--set", "axes.seed=[0, 1, 2]")
    assert done.returncode == 0, done.stderr
    assert executed(done) == 8


def test_scores_status_and_plan_print_json(results: Path) -> None:
    rows = json.loads(harness("scores", "tiny", "--results", results, "--format", "json").stdout)
    assert {"cell", "method", "seed", "benchmark", "metric", "category", "value", "stderr", "n", "total"} <= set(
        rows[0]
    )
    states = json.loads(harness("status", "tiny", "--results", results, "--format", "json").stdout)
    assert {row["state"] for row in states} == {"done"}
    plan = json.loads(harness("plan", results.parent / "tiny.yaml", "--results", results, "--format", "json").stdout)
    total = plan[-1]
    assert (total["stage"], total["to run"]) == ("total", 0)
    assert total["asked"] > total["unique"]


def test_one_stage_alone(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m harness.stages ID` builds what a run would have built."""
    stage = next(stage for stage, kind, _ in named_stages(results / "runs/tiny") if kind == "score")
    artifact = results / "store/artifacts" / stage
    whole = (artifact / "samples.parquet").read_bytes()
    artifact.rename(tmp_path / "away")
    monkeypatch.setattr("sys.argv", ["stages", stage[:16], "--results", str(results)])
    assert run_stages() == 0
    assert (artifact / "samples.parquet").read_bytes() == whole


def test_a_failing_cell_fails_the_run_but_not_the_others(tmp_path: Path) -> None:
    """One axis value names a dataset with a broken line: its cells fail with file and line, the others are scored."""
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"prompt": "a", "response": "b"}\n{"prompt": \n')
    text = recipes.TINY.replace("data: {train: {pocket: {examples: 32, seed: 2}}}", "data: {train: $train}").replace(
        "axes:\n",
        f"axes:\n  train:\n    - good: {{pocket: {{examples: 32, seed: 2}}}}\n    - bad: {{path: {broken}}}\n",
    )
    recipe = recipes.write(tmp_path, text)
    done = harness("run", recipe, "--results", tmp_path, "--only", "train=*method=sft,seed=0")
    assert done.returncode == 1
    assert "broken.jsonl:2: broken JSON line" in done.stderr
    assert "Traceback" not in done.stderr
    scores = pd.read_parquet(tmp_path / "runs/tiny/scores.parquet")
    assert set(scores["cell"]) == {"train=good,method=sft,seed=0"}
    run = json.loads((tmp_path / "runs/tiny/run.json").read_text())
    failed = {c["cell"]: c["failed"] for c in run["cells"]}
    assert "broken.jsonl:2" in failed["train=bad,method=sft,seed=0"]
    states = json.loads(harness("status", "tiny", "--results", tmp_path, "--format", "json").stdout)
    assert {"failed", "waiting", "done"} == {row["state"] for row in states}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("pypi:no_such_package", "no_such_package"),
        ("path:no/such/folder", "no/such/folder"),
        ("gguf:none.gguf", "none.gguf"),
        ("endpoint:gpt-4", "an endpoint gives text only"),
        ("pocket:llama?layer=2", "Did you mean `layers`?"),
        ("nonsense", "not a model reference"),
    ],
)
def test_models_that_are_not_there(tmp_path: Path, change: str, words: str) -> None:
    done = harness("run", recipes.write(tmp_path), "--results", tmp_path, "--set", f"student={change}")
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
