"""SmolLM2 on real tasks: every digit that the command `lm_eval` prints, and every item's result."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.bench.api import Measured, samples_frame
from harness.bench.lm_eval import BENCHMARK, LmEvalSettings
from harness.bench.lm_eval.run import write_tasks
from harness.bench.lm_eval.tasks import choose

DATA = Path(__file__).parents[2] / "../shared/data/lm_eval"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="no lm-eval data beside the project; `test_arc_and_gsm8k_are_lm_evals_own` has it made up"
)
TASKS = ("arc_easy", "arc_challenge", "gsm8k")


def started(given: LmEvalSettings, model: Path, batch: int, folder: Path) -> "subprocess.Popen[bytes]":
    """The command on the same local data, on one core."""
    (folder / "tasks").mkdir()
    data: dict[str, dict[str, Path]] = {}
    for role, path in BENCHMARK.files(given).items():
        if role.startswith("data:"):
            _, task, split = role.split(":")
            data.setdefault(task, {})[split] = path
    write_tasks(choose(given.tasks, given.include_path), data, folder / "tasks")
    told = [sys.executable, "-m", "lm_eval", "run", "--model", "hf"]
    told += ["--model_args", f"pretrained={model},dtype=float32", "--device", "cpu", "--batch_size", str(batch)]
    told += ["--tasks", ",".join(given.tasks), "--include_path", str(folder / "tasks"), "--limit", str(given.limit)]
    told += ["--output_path", str(folder / "theirs"), "--log_samples"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(told, stdout=subprocess.DEVNULL, env=environment)


def read(out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    (results,) = out.glob("results_*.json")
    samples = {}
    for path in out.glob("samples_*.jsonl"):
        name = path.stem.removeprefix("samples_").rpartition("_")[0]
        samples[name] = [json.loads(line) for line in path.read_text().splitlines()]
    return json.loads(results.read_text())["results"], samples


def check(given: LmEvalSettings, model: Path, batch: int, folder: Path) -> None:
    out = folder / "ours"
    out.mkdir()
    bench = BENCHMARK.open(given, BENCHMARK.files(given))
    with started(given, model, batch, folder) as command:
        try:
            how = Measured(model, "float32", batch, 0, out, lambda *_: None)
            samples = bench.measure(how)
            assert command.wait() == 0
        finally:
            command.kill()
    (theirs, their_samples), (ours, our_samples) = read(next((folder / "theirs").iterdir())), read(out)
    assert ours == theirs
    for task in given.tasks:
        for one, other in zip(our_samples[task], their_samples[task], strict=True):
            assert {k: one[k] for k in ("doc_hash", "prompt_hash", "filter")} == {
                k: other[k] for k in ("doc_hash", "prompt_hash", "filter")
            }
            assert [one[k] for k in one["metrics"]] == [other[k] for k in one["metrics"]]
    scores = bench.aggregate(samples_frame(samples)).set_index("metric")
    for reported in choose(given.tasks, given.include_path).reported:
        told, key = theirs[reported.asked], f"{reported.metric}{{}},{reported.filter}"
        row = scores.loc[reported.name]
        assert f"{row['value']:.4f}" == f"{told[key.format('')]:.4f}"
        assert f"{row['stderr']:.4f}" == f"{told[key.format('_stderr')]:.4f}"
        assert row["value"] == pytest.approx(told[key.format("")], rel=1e-12)
        assert row["n"] == row["total"] == given.limit


@pytest.mark.slow
def test_every_digit_of_the_command_on_multiple_choice(smollm2_folder: Path, tmp_path: Path) -> None:
    check(LmEvalSettings(tasks=["arc_easy", "arc_challenge"], data_dir=DATA, limit=20), smollm2_folder, 8, tmp_path)


SHORT = """\
include: {gsm8k}
task: gsm8k_short
num_fewshot: 1
generation_kwargs: {{until: ["Question:"], do_sample: false, temperature: 0.0, max_gen_toks: 32}}
"""


@pytest.mark.slow
def test_every_digit_of_the_command_on_generated_answers(smollm2_folder: Path, tmp_path: Path) -> None:
    """GSM8K's items, few-shot draws, filters and metrics; one example and 32 tokens, which a processor can afford."""
    import lm_eval

    own = tmp_path / "own"
    own.mkdir()
    gsm8k = Path(str(lm_eval.__file__)).parent / "tasks/gsm8k/gsm8k.yaml"
    (own / "gsm8k_short.yaml").write_text(SHORT.format(gsm8k=gsm8k))
    data = {"gsm8k_short": {"train": DATA / "gsm8k_train.jsonl.xz", "test": DATA / "gsm8k_test.jsonl"}}
    given = LmEvalSettings(tasks=["gsm8k_short"], include_path=own, data_dir=data, limit=20)
    check(given, smollm2_folder, 1, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("tasks", "batch"), [(TASKS[:2], 8), (TASKS[2:], 1)], ids=["choices", "texts"])
def test_every_digit_of_the_command_on_more_items(
    smollm2_folder: Path, tmp_path: Path, tasks: tuple[str, ...], batch: int
) -> None:
    """GSM8K as it is, five examples and 256 tokens, takes half an hour on two cores."""
    check(LmEvalSettings(tasks=list(tasks), data_dir=DATA, limit=200), smollm2_folder, batch, tmp_path)
