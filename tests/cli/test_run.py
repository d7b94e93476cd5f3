"""`harness run` from end to end in the pocket world, as a user starts it: in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.cli import recipes

HARNESS = [sys.executable, "-c", "from harness.cli import main; main()"]


def harness(*words: object, **options: object) -> "subprocess.CompletedProcess[str]":
    options = {"timeout": 240, **options}
    return subprocess.run([*HARNESS, *map(str, words)], capture_output=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


def executed(done: "subprocess.CompletedProcess[str]") -> int:
    """How many stages a run says that it executed."""
    line = next(line for line in done.stderr.splitlines() if line.startswith("executed "))
    return int(line.split()[1])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a finished run of the tiny recipe."""
    folder = tmp_path_factory.mktemp("line")
    done = harness("run", recipes.write(folder), "--results", folder / "results")
    assert done.returncode == 0, done.stderr
    assert executed(done) == len(json.loads((folder / "results/runs/tiny/plan.json").read_text())["stages"])
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
    assert {"recipe.yaml", "run.json", "plan.json", "report.html", "report.md", "samples.csv", "scores.csv"} <= names
    (verdicts,) = (folder / "pocket/model_judgment").iterdir()
    models = [json.loads(line)["model"] for line in verdicts.read_text().splitlines()]
    assert {models.count(cell) for cell in models} == {32}, "16 questions of two turns, every model in the one file"
    assert len(set(models)) == 6
    run = json.loads((folder / "run.json").read_text())
    assert [c["failed"] for c in run["cells"]] == [None] * 6
    assert {t["steps"] for t in run["training"]} == {3}
    curves = pd.read_parquet(folder / "curves.parquet")
    assert set(curves["metric"]) >= {"loss", "learning_rate", "grad_norm", "agreement/teacher"}


def test_the_same_recipe_gives_the_same_scores_to_the_byte(results: Path, tmp_path: Path) -> None:
    done = harness("run", results.parent / "tiny.yaml", "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("scores.csv", "samples.csv"):
        assert (tmp_path / "runs/tiny" / name).read_bytes() == (results / "runs/tiny" / name).read_bytes()
    assert "may differ when run again: Nothing that is known" in " ".join(
        (results / "runs/tiny/report.md").read_text().replace("*", "").split()
    )


def test_second_run_executes_nothing_and_starts_no_torch(results: Path) -> None:
    before = (results / "runs/tiny/report.html").stat().st_mtime_ns
    clock = time.monotonic()
    done = harness("run", results.parent / "tiny.yaml", "--results", results)
    assert time.monotonic() - clock < 10, "it takes under 3 s on a quiet machine"
    assert executed(done) == 0
    assert (results / "runs/tiny/report.html").stat().st_mtime_ns == before


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


def test_one_stage_alone(results: Path, tmp_path: Path) -> None:
    """`python -m harness.stages ID` builds what a run would have built."""
    stages = json.loads((results / "runs/tiny/plan.json").read_text())["stages"]
    stage = next(i for i, s in stages.items() if s["kind"] == "score")
    artifact = results / "store/artifacts" / stage
    whole = (artifact / "samples.parquet").read_bytes()
    artifact.rename(tmp_path / "away")
    words = [sys.executable, "-m", "harness.stages", stage[:16], "--results", str(results)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (artifact / "samples.parquet").read_bytes() == whole


def test_same_scores_to_the_byte_in_another_store(results: Path, tmp_path: Path) -> None:
    done = harness("run", results.parent / "tiny.yaml", "--results", tmp_path, "--only", "*seed=0")
    assert done.returncode == 0, done.stderr
    here, there = (pd.read_parquet(r / "runs/tiny/samples.parquet") for r in (results, tmp_path))
    here = here[here["cell"].isin(there["cell"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(here, there)


def test_killed_runs_go_on_where_they_were(results: Path, tmp_path: Path) -> None:
    """Killed with -9 at several moments, with all its processes; the scores are those of an undisturbed run."""
    recipe = recipes.write(tmp_path)
    words = [*HARNESS, "run", str(recipe), "--results", str(tmp_path), "--only", "method=kd,seed=0"]
    for seconds in (7.0, 10.0, 12.0):
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    here, there = (pd.read_parquet(r / "runs/tiny/samples.parquet") for r in (results, tmp_path))
    here = here[here["cell"] == "method=kd,seed=0"].reset_index(drop=True)
    pd.testing.assert_frame_equal(here, there)


def test_ctrl_c_stops_at_once_and_says_that_nothing_is_lost(tmp_path: Path) -> None:
    words = [*HARNESS, "run", str(recipes.write(tmp_path)), "--results", str(tmp_path)]
    process = subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell starts its background jobs deaf to Ctrl-C, and they would hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (one thread)
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("start "):
            break
    os.killpg(process.pid, signal.SIGINT)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "What is finished is kept; run again to go on." in rest


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
