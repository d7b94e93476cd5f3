"""The smallest recipe that goes through every room."""

from pathlib import Path

TINY = """\
name: tiny
description: a made teacher, a student taught by its logits or its answers
student: pocket:llama?layers=1&width=16&heads=2&seed=1
teacher: {model: "artifact:big"}
models:
  big:
    base: pocket:llama?layers=1&width=32&heads=2&seed=2
    data: {train: {pocket: {examples: 64, seed: 1}}}
    train: [{sft: {max_steps: 4, batch_size: 16, micro_batch_size: 16, learning_rate: 3e-3}}]
data: {train: {pocket: {examples: 32, seed: 2}}}
axes:
  method:
    - sft: {sft: {max_steps: 3, batch_size: 8, micro_batch_size: 8, learning_rate: 1e-3}}
    - kd: {kd: {max_steps: 3, batch_size: 8, micro_batch_size: 8, learning_rate: 1e-3}}
  seed: [0, 1]
train: [$method]
seed: $seed
baselines: [student, teacher]
evaluate: [{pocket: {questions: 16}}]
"""


def write(folder: Path, text: str = TINY) -> Path:
    """The recipe as a file."""
    path = folder / "tiny.yaml"
    path.write_text(text)
    return path
