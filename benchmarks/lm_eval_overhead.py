"""Wall time of our `lm_eval` benchmark beside the command `lm_eval`: same model, tasks and batch, fresh processes.

    python benchmarks/lm_eval_overhead.py MODEL_FOLDER DATA_DIR [--tasks arc_easy] [--limit 5] [--repeats 1]

DATA_DIR holds files TASK_SPLIT.jsonl. The two take turns; medians, and ours over the command's. Both also must print
the same numbers. One thread each; start-up is part of both times, so more items bring the ratio nearer to 1.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.bench._lm_eval_run import write_tasks
from harness.bench._lm_eval_tasks import choose
from harness.bench.api import Measured
from harness.bench.lm_eval import BENCHMARK, LmEvalSettings

BATCH = 8


def ours(settings: LmEvalSettings, model: Path, out: Path) -> None:
    BENCHMARK.measure(settings, BENCHMARK.files(settings), Measured(model, "float32", BATCH, 0, out, lambda *_: None))


def command(settings: LmEvalSettings, model: Path, out: Path, tasks: Path) -> list[str]:
    data: dict[str, dict[str, Path]] = {}
    for role, path in BENCHMARK.files(settings).items():
        _, task, split = role.split(":")
        data.setdefault(task, {})[split] = path
    tasks.mkdir()
    write_tasks(choose(settings.tasks, None), data, tasks)
    told = [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--device", "cpu", "--batch_size", str(BATCH)]
    told += ["--model_args", f"pretrained={model},dtype=float32", "--tasks", ",".join(settings.tasks)]
    told += ["--include_path", str(tasks), "--limit", str(settings.limit)]
    return [*told, "--output_path", str(out), "--log_samples"]


def timed(told: list[str]) -> float:
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    before = time.perf_counter()
    subprocess.run(told, check=True, capture_output=True, env=env)
    return time.perf_counter() - before


def results(out: Path) -> Any:
    return json.loads(next(out.rglob("results_*.json")).read_text())["results"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tasks", default="arc_easy")
    parser.add_argument("--limit", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--ours-to", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    settings = LmEvalSettings(tasks=given.tasks.split(","), limit=given.limit, data_dir=given.data)
    if given.ours_to is not None:
        ours(settings, given.model, given.ours_to)
        return
    seconds: dict[str, list[float]] = {"command": [], "ours": []}
    with tempfile.TemporaryDirectory() as place:
        for turn in range(given.repeats):
            folder = Path(place) / str(turn)
            (folder / "ours").mkdir(parents=True)
            told = command(settings, given.model, folder / "theirs", folder / "tasks")
            seconds["command"].append(timed(told))
            again = [sys.executable, __file__, *sys.argv[1:], "--ours-to", str(folder / "ours")]
            seconds["ours"].append(timed(again))
            assert results(folder / "ours") == results(folder / "theirs"), "not the same numbers"
    medians = {who: statistics.median(times) for who, times in seconds.items()}
    print(" ".join(f"{who} {median:.1f} s" for who, median in medians.items()), end=" ")
    print(f"ratio {medians['ours'] / medians['command']:.2f} ({settings.tasks}, {settings.limit} items each)")


if __name__ == "__main__":
    main()
