"""Memory of distilling attention maps: ours against asking both models for all their maps, as the released code does.

    python benchmarks/attention_kd.py --layers 2 4 8 16

A Llama of width 256 with 8 heads learns from another of the same shape (untrained; the memory is the same), a batch of
4 x 512 tokens, float32. Each figure is of a process of its own: the peak of one step, forward and backward, above what
the process holds before it. Plain KD is what both ways add to.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _peak import peak
from transformers import LlamaConfig, LlamaForCausalLM

from harness.train.api import Batch, Teacher
from harness.train.losses import IGNORED, live_teacher
from harness.train.steps.kd import KDSettings, kd_loss

ROOT = Path(__file__).parents[1]
ROWS, LENGTH, PROMPT, WORDS = 4, 512, 200, 512
SIDES = ("plain KD", "ours", "all maps")


def model(layers: int, seed: int, attention: str) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=8,
        attn_implementation=attention,
    )
    return LlamaForCausalLM(config)


def batch() -> Batch:
    ids = torch.randint(WORDS, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[:, :PROMPT] = IGNORED
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def all_maps(student: Any, teacher: Any, given: Batch) -> torch.Tensor:
    """The same loss from maps that are all held: KL of predictions and of attention, summed over response tokens."""
    inputs = {"input_ids": given["input_ids"], "attention_mask": given["attention_mask"], "output_attentions": True}
    with torch.no_grad():
        taught = teacher(**inputs)
    learned = student(**inputs)
    response = given["labels"] != IGNORED
    shifted = response[:, 1:]
    log_p, log_q = (out.logits[:, :-1][shifted].log_softmax(-1) for out in (taught, learned))
    total = (log_p.exp() * (log_p - log_q)).sum()
    for theirs, mine in zip(taught.attentions, learned.attentions, strict=True):
        kl = theirs * (theirs.clamp_min(1e-30).log() - mine.clamp_min(1e-30).log())
        total = total + (kl.sum(-1).mean(1) * response).sum() / len(learned.attentions)
    return total


def measure(side: str, layers: int) -> dict[str, float]:
    """Two steps; the second is measured."""
    attention = "eager" if side == "all maps" else "sdpa"
    student, teacher = (model(layers, seed, attention) for seed in (0, 1))
    given, guide = batch(), live_teacher(teacher.requires_grad_(False))
    loss = objective(side, student, teacher, guide, given)
    for _ in range(2):
        student.zero_grad()
        began = time.perf_counter()
        with peak() as seen:
            value = loss()
            value.backward()
            total = float(value)
            del value
        seconds = time.perf_counter() - began
    return {"above_rest_mb": seen.above, "seconds": seconds, "loss": total}


def objective(side: str, student: Any, teacher: Any, guide: Teacher, given: Batch) -> Callable[[], torch.Tensor]:
    if side == "all maps":
        return lambda: all_maps(student, teacher, given)
    settings = KDSettings(w_attn=1.0 if side == "ours" else 0.0)
    ours = kd_loss(settings, {"teacher": guide}, WORDS)
    return lambda: ours(student, given).total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        torch.set_num_threads(arguments.threads)
        return print(json.dumps(measure(arguments.side, arguments.layers[0])))
    print("| layers | plain KD: peak, MB | ours: above it, MB | all maps: above it, MB | ours, s | all maps, s |")
    print("|---:|---:|---:|---:|---:|---:|")
    for layers in arguments.layers:
        found = {}
        for side in SIDES:
            command = [sys.executable, __file__, "--side", side, "--layers", str(layers)]
            command += ["--threads", str(arguments.threads)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
            found[side] = json.loads(done.stdout.splitlines()[-1])
        assert abs(found["ours"]["loss"] / found["all maps"]["loss"] - 1) < 1e-3, "the two ways give one loss"
        base, ours, maps = (found[side]["above_rest_mb"] for side in SIDES)
        seconds = [f"{found[side]['seconds']:.1f}" for side in SIDES[1:]]
        print(f"| {layers} | {base:.0f} | {ours - base:.0f} | {maps - base:.0f} | {' | '.join(seconds)} |", flush=True)
    return None


if __name__ == "__main__":
    main()
