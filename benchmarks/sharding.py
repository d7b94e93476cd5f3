"""Memory of a training in shares: the peak of each process when one, two and four share a student and its teacher.

    python benchmarks/sharding.py --processes 1 2 4

KD of a Llama with random weights from another of the same shape, float32, on a CPU: STEPS optimiser steps of 8
conversations of about LENGTH tokens, 2 at a time, with a checkpoint after each step and the model written at the end.
One process trains without sharding, several with `sharding: fsdp`. A process's memory is its anonymous memory (RssAnon
in /proc): what it allocated, without the files that it maps.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from harness.core.lines import read_lines, write_lines
from harness.data.pocket_words import WORDS
from harness.models.load import load_tokenizer, quiet
from harness.models.pocket import build, parse_spec
from harness.train.api import steps
from harness.train.job import TrainJob, TrainPlace
from harness.train.processes import CHILD, train_in_processes, write_job
from harness.train.settings import Processes, StepSettings
from harness.train.tokens import write_tokens

STEPS, ROWS, LENGTH = 2, 8, 64
EVERY, LOOK = 0.02, 1.0
"""Seconds between two looks at memory, and between two looks for new processes."""


def model(folder: Path, seed: int, asked: argparse.Namespace) -> int:
    """Write a model with the pocket tokenizer; returns how many weights it has."""
    build(parse_spec(f"llama?layers=1&width=16&heads=2&seed={seed}"), folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=asked.vocabulary,
        hidden_size=asked.width,
        intermediate_size=asked.width * 11 // 4,
        num_hidden_layers=asked.layers,
        num_attention_heads=asked.width // 64,
        num_key_value_heads=asked.width // 64,
        tie_word_embeddings=asked.tied,
    )
    made = LlamaForCausalLM(config)
    with quiet():
        made.save_pretrained(folder)
    return sum(weight.numel() for weight in made.parameters())


def conversations(file: Path) -> None:
    """Questions and answers of random words."""
    words, drawn = sorted(WORDS), random.Random(0)
    rows = []
    for number in range(STEPS * ROWS):
        question, answer = (" ".join(drawn.choices(words, k=LENGTH // 2 - 4)) for _ in range(2))
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        rows.append({"id": str(number), "messages": messages})
    write_lines(file, rows)


class Watch(threading.Thread):
    """The most anonymous memory, in MB, that each training process below this one has held."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peaks: dict[int, float] = {}
        self.done = threading.Event()

    def run(self) -> None:
        """Look until `done` is set."""
        looked, children = 0.0, set[int]()
        while not self.done.is_set():
            if time.monotonic() - looked > LOOK:
                looked, children = time.monotonic(), _trainers()
            for child in children:
                with suppress(OSError):
                    status = Path(f"/proc/{child}/status").read_text()
                    anonymous = int(status.partition("RssAnon:")[2].split()[0]) * 1024 / 1e6
                    self.peaks[child] = max(self.peaks.get(child, 0.0), anonymous)
            time.sleep(EVERY)


def _trainers() -> set[int]:
    found = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if CHILD in (words := process.cmdline()) and "torch.distributed.run" not in words:
                found.add(process.pid)
    return found


def measure(folder: Path, processes: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Peaks of the processes in MB, losses by step, seconds."""
    with tempfile.TemporaryDirectory(dir=folder) as new:
        out, work = Path(new) / "out", Path(new) / "work"
        out.mkdir()
        work.mkdir()
        step = steps()["kd"]
        settings = step.settings.model_validate(
            {"batch_size": ROWS, "micro_batch_size": 2, "epochs": 1.0, "lambda": 0.5, "save_every": 1}
            | {"learning_rate": 1e-3, "gradient_checkpointing": asked.checkpointing}
        )
        assert isinstance(settings, StepSettings)
        parallel = Processes(processes=processes, sharding="fsdp" if processes > 1 else "none")
        job = TrainJob(step, settings, 0, "benchmark", parallel=parallel)
        place = TrainPlace(
            folder / "student", [folder / "tokens"], out, work, Path(new), {"teacher": folder / "teacher"}
        )
        watch, began = Watch(), time.perf_counter()
        watch.start()
        if processes > 1:
            train_in_processes(job, place, lambda *_, **__: None)
        else:
            write_job(work / "job.json", job, place)
            subprocess.run([sys.executable, "-m", CHILD, str(work / "job.json")], check=True)
        watch.done.set()
        watch.join()
        losses = [line["loss"] for line in read_lines(out / "log.jsonl")]
        return {
            "processes": processes,
            "peak_mb": sorted(round(peak) for peak in watch.peaks.values()),
            "losses": losses,
            "seconds": round(time.perf_counter() - began, 1),
        }


def main() -> None:
    """Print a JSON object for each number of processes, and each one's peak as a share of the first's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=21)
    parser.add_argument("--vocabulary", type=int, default=32000)
    parser.add_argument("--tied", action="store_true", help="the output matrix is the input embedding")
    parser.add_argument("--checkpointing", action="store_true", help="compute each layer again in the backward pass")
    parser.add_argument("--folder", type=Path, help="where the models and checkpoints go: about 10 GB")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as new:
        folder = Path(new)
        weights = {role: model(folder / role, seed, asked) for seed, role in enumerate(("student", "teacher"))}
        conversations(folder / "data.jsonl")
        (folder / "tokens").mkdir()
        write_tokens(folder / "data.jsonl", load_tokenizer(folder / "student"), 2 * LENGTH, folder / "tokens")
        print(json.dumps({"weights": weights, **vars(asked)}, default=str), flush=True)
        first = None
        for processes in asked.processes:
            figures = measure(folder, processes, asked)
            first = first or max(figures["peak_mb"])
            print(json.dumps(figures | {"of_first": round(max(figures["peak_mb"]) / first, 3)}), flush=True)


if __name__ == "__main__":
    main()
