"""One training step: a model folder and conversations in, a tuned model folder, its curve and its counts out."""

import contextlib
import json
import random
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.lines import write_lines
from harness.models.load import check_finite, load_model, load_tokenizer, output_head, quiet
from harness.models.refs import model_files
from harness.train.api import Step
from harness.train.examples import Examples, collate, encode_file
from harness.train.losses import live_teacher
from harness.train.settings import StepSettings
from harness.train.trainer import DistillTrainer, Progress, Report, arguments, last_checkpoint

_CURVE = ("step", "loss", "learning_rate", "grad_norm", "tokens")


def train(
    model_folder: Path,
    conversations_path: Path,
    step: Step,
    settings: StepSettings,
    *,
    out: Path,
    work: Path,
    seed: int,
    progress: Progress,
    teachers: Mapping[str, Path] = MappingProxyType({}),
) -> dict[str, Json]:
    """Train by `step` and write `model/`, `log.jsonl` and `training.json` to `out`.

    The log has a line per step: loss (nats per response token), learning rate, gradient norm, response tokens.
    Continues from the newest whole checkpoint in `work`, to the same weights as an undisturbed run on that machine.

    Returns:
        What `training.json` holds: rows, skipped by reason, truncated, response tokens, steps.

    Raises:
        HarnessError: nothing to train on, a teacher with another tokenizer, a loss that is not a number.
    """
    tokenizer = load_tokenizer(model_folder)
    for folder in teachers.values():
        _same_vocabulary(tokenizer, load_tokenizer(folder), model_folder, folder)
    examples = encode_file(conversations_path, tokenizer, settings.max_length)
    with random_state_kept():
        trainer = _trainer(model_folder, teachers, step, settings, examples, len(tokenizer), work, seed, progress)
        with quiet():
            trainer.train(resume_from_checkpoint=last_checkpoint(work))
    write_model(trainer.model, model_folder, out / "model")
    curve = [entry for entry in trainer.state.log_history if "loss" in entry]
    write_lines(out / "log.jsonl", ({name: entry.get(name) for name in _CURVE} for entry in curve))
    summary: dict[str, Json] = {
        "rows": examples.rows,
        "trained_rows": len(examples.examples),
        "skipped": examples.skipped,
        "truncated": examples.truncated,
        "response_tokens": examples.response_tokens,
        "steps": trainer.state.global_step,
    }
    (out / "training.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")
    return summary


def _trainer(
    model_folder: Path,
    teachers: Mapping[str, Path],
    step: Step,
    settings: StepSettings,
    examples: Examples,
    words: int,
    work: Path,
    seed: int,
    progress: Progress,
) -> DistillTrainer:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    args = arguments(settings, work, seed % 2**32)  # numpy's generator takes 32 bits.
    student = load_model(model_folder, "float32", device)
    check_finite(student, str(model_folder))
    output_head(student)
    guides = {role: live_teacher(_frozen(folder, settings, device)) for role, folder in teachers.items()}
    return DistillTrainer(
        objective=step.objective(settings, guides, words),
        dtype=settings.dtype,
        model=student,
        args=args,
        train_dataset=examples.examples,
        data_collator=collate,
        callbacks=[Report(progress)],
    )


def _frozen(folder: Path, settings: StepSettings, device: str) -> Any:
    model = load_model(folder, settings.dtype, device).requires_grad_(False)
    check_finite(model, str(folder))
    return model


def _same_vocabulary(student: Any, teacher: Any, student_folder: Path, teacher_folder: Path) -> None:
    mine, theirs = student.get_vocab(), teacher.get_vocab()
    if mine == theirs:
        return
    shared = len(mine.items() & theirs.items())
    raise HarnessError(
        f"student and teacher have different tokenizers: {len(mine)} entries in {student_folder}, {len(theirs)} in "
        f"{teacher_folder}, {shared} the same",
        fix="Distillation on logits needs one vocabulary: choose a teacher of the student's family, or train on the "
        "teacher's responses with `sft: {data: teacher}`.",
    )


def write_model(model: Any, source: Path, out: Path) -> None:
    """Weights from `model`; tokenizer, chat template and generation config as they are in `source`."""
    with quiet():
        model.to("cpu", torch.float32).save_pretrained(out)
    config = json.loads((out / "config.json").read_text())
    described = json.loads((source / "config.json").read_text())
    if "use_cache" in described:  # The Trainer switches it off.
        config["use_cache"] = described["use_cache"]
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for file in model_files(source):
        if "safetensors" not in file.name and file.name != "config.json":
            shutil.copyfile(file, out / file.name)


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """The Trainer seeds every generator of the process; afterwards they are as they were."""
    python, arrays = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
