"""A training step: from a model folder and conversations to a tuned model folder, its curve and its counts."""

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainingArguments

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.files import link_tree
from harness.core.lines import read_json, write_json, write_lines
from harness.core.seeds import derive_seed
from harness.generate.prompts import room, stop_ids
from harness.models.batching import by_length
from harness.models.inventory import quantised
from harness.models.load import (
    check_finite,
    load_model,
    load_share,
    load_tokenizer,
    output_head,
    quiet,
    tokenizer_difference,
)
from harness.models.memory import give_back_at_once
from harness.models.turns import untaught_prompt
from harness.train.api import Batch, Teacher
from harness.train.batches import Cutting, EffectiveBatches
from harness.train.examples import Examples, check_end, collate, filler, hold_out, learned, read_examples
from harness.train.flops import Meter
from harness.train.job import TrainJob, TrainPlace
from harness.train.lora import add_adapters
from harness.train.losses import live_teacher
from harness.train.reporters import reporters
from harness.train.router import balanced
from harness.train.sampling import Limits, Sampler
from harness.train.saving import KeepCheckpoints, write_model
from harness.train.settings import Processes, StepSettings
from harness.train.tokens import check_tokens
from harness.train.trainer import (
    FLOPS,
    SECONDS,
    DistillTrainer,
    Progress,
    Report,
    arguments,
    last_checkpoint,
    most_steps,
)

_CURVE = ("step", "loss", "learning_rate", "grad_norm", "tokens")
_CHECKPOINTS = "kept"
"""Where models kept at fractions of the training wait in the work folder."""


def train(job: TrainJob, place: TrainPlace, progress: Progress) -> dict[str, Json]:
    """Do a job: write `model/`, `log.jsonl` and `training.json` to `place.out`.

    A model that is kept at a fraction of the training is in `checkpoint-FRACTION/` (at 1 in `model/`). The log has a
    line per step: loss (nats per response token), learning rate, gradient norm, response tokens, parts of the loss; the
    job's reporters get it as it grows. A stopped training continues from the newest whole checkpoint in `place.work` to
    the weights of an undisturbed run on that machine. Of several processes (started by torchrun) the first writes.

    Returns:
        The content of `training.json`: rows, skipped by reason, the rows the template `refused` (if any), truncated,
        response tokens, steps, per-domain rows and tokens, seconds in the loop, `train_flops` (`train.flops`),
        `held_out_loss` (nats per response token), `untaught_prompt` where there is one (`models.turns`), the method of
        each teacher whose weights are quantised (`quantised_teachers`), by role.

    Raises:
        HarnessError: no examples, a teacher with another tokenizer, a loss that is not finite.
    """
    settings, curve_reporters = job.settings, reporters(job.settings.report_to, place.events)
    give_back_at_once()
    tokenizer = load_tokenizer(place.student)
    check_end(tokenizer)
    check_trainable(place.student)
    for folder in place.teachers.values():
        _check_vocabulary(place.student, folder)
    examples, held = read_examples(place.tokens, place.mix, job.domains), None
    for part in examples.parts:
        check_tokens(part, tokenizer)
    if job.held_out is not None:
        examples, held = hold_out(examples, job.held_out.share, job.held_out.seed)
    with random_state_kept():
        told = [Report(progress, settings.budget_flops), *curve_reporters]
        trainer = _trainer(job, place, examples, len(tokenizer), told)
        with quiet():
            trainer.train(resume_from_checkpoint=last_checkpoint(place.work))
        summary = _summary(examples, trainer)
        if methods := _quantised_teachers(place):
            summary["quantised_teachers"] = methods
        if untaught := untaught_prompt(tokenizer):
            summary["untaught_prompt"] = untaught
        if held is not None:
            summary |= {"held_out_rows": len(held), "held_out_loss": _mean_loss(trainer, held)}
    first = trainer.is_world_process_zero()
    write_model(trainer.model, settings.lora, place.student, place.out / "model", writes=first)
    if first:
        for checkpoint in sorted((place.work / _CHECKPOINTS).glob("*")):
            link_tree(checkpoint, place.out / checkpoint.name)
        write_lines(place.out / "log.jsonl", map(_line, _steps(trainer)))
        write_json(place.out / "training.json", summary)
    return summary


def _trainer(
    job: TrainJob, place: TrainPlace, examples: Examples, vocab_size: int, callbacks: Sequence[TrainerCallback]
) -> DistillTrainer:
    settings, seed, sampling = job.settings, derive_seed(job.seed, "train"), job.step.sampling(job.settings)
    args = arguments(
        settings,
        place.work,
        seed % 2**32,  # numpy seeds its generator with 32 bits
        job.title,
        max_steps=most_steps(settings, place.work),
        sampled_every=sampling.every if sampling else 1,
    )
    student = _student(job, place.student, str(args.device), seed)
    assert job.step.objective is not None, "a command trains by itself"
    meter = Meter()
    teachers = _teachers(job, place, examples, str(args.device), meter)
    objective = job.step.objective(settings, teachers, vocab_size)
    batches = EffectiveBatches(len(examples), settings.batch_size, args.data_seed)
    sampler = None
    if sampling is not None:
        limits = _limits(place.student, student, settings)
        sampler = Sampler(student, sampling, limits, examples, batches, seed, meter.sampling(student))
    trainer = DistillTrainer(
        objective=meter.student(balanced(objective, settings.router_loss, student), student),
        dtype=settings.dtype,
        flops=meter.read,
        model=student,
        args=args,
        batches=batches,
        sampler=sampler,
        budget=settings.budget_flops,
        train_dataset=examples,
        data_collator=_cutting(settings, args),
        callbacks=callbacks,
    )

    def keep(folder: Path) -> None:
        write_model(trainer.model, settings.lora, place.student, folder, writes=trainer.is_world_process_zero())

    trainer.add_callback(KeepCheckpoints(job.checkpoints, place.work / _CHECKPOINTS, keep))
    return trainer


def _cutting(settings: StepSettings, args: TrainingArguments) -> Cutting:
    return Cutting(
        collate,
        length=lambda example: len(example["input_ids"]),
        count=learned,
        filler=filler(),
        rows=settings.micro_rows,
        tokens=settings.micro_batch_tokens,
        process=args.process_index,
        processes=args.world_size,
    )


def _teachers(job: TrainJob, place: TrainPlace, examples: Examples, device: str, meter: Meter) -> dict[str, Teacher]:
    """The teachers by role, experts in the order of their domains."""
    teachers: dict[str, Teacher] = {
        role: meter.teacher(live_teacher(_frozen(folder, job.settings, device, job.parallel)))
        for role, folder in place.teachers.items()
    }
    if place.targets:
        from harness.train.targets import stored_teacher

        for role in {stored.role: None for stored in place.targets}:
            folders = {stored.domain: stored.folder for stored in place.targets if stored.role == role}
            teachers[role] = stored_teacher([folders.get(domain) for domain in (None, *job.domains)], examples)
    # A batch numbers domains in the recipe's order, so a loss must meet their experts in that order.
    others = [role for role in teachers if role not in job.domains]
    return {role: teachers[role] for role in [*others, *job.domains] if role in teachers}


def _student(job: TrainJob, folder: Path, device: str, seed: int) -> Any:
    """The model to train, with its adapters; HarnessError where its weights are no numbers."""
    settings, parallel = job.settings, job.parallel
    if parallel.sharding == "none":
        student: Any = load_model(folder, "float32", device)
    else:
        student = load_share(folder, "float32", parallel.processes)
    if torch.device(device).type == "cpu" and settings.dtype == "bfloat16":
        student.set_experts_implementation("eager")  # grouped products in bfloat16 are slow on a CPU
    check_finite(student, str(folder))
    output_head(student)
    if settings.lora is not None:
        torch.manual_seed(derive_seed(seed, "adapters"))
        add_adapters(student, settings.lora)
    return student


def _frozen(folder: Path, settings: StepSettings, device: str, parallel: Processes) -> Any:
    if parallel.sharding == "none":
        model: Any = load_model(folder, settings.dtype, device).requires_grad_(False)
    else:
        offload = parallel.offload_teachers and torch.device(device).type != "cpu"
        model = load_share(folder, settings.dtype, parallel.processes, frozen=True, offload=offload)
    check_finite(model, str(folder))
    return model


def _limits(folder: Path, student: Any, settings: StepSettings) -> Limits:
    stops = stop_ids(load_tokenizer(folder), student.generation_config)
    return Limits(stops, room(student.config, settings.max_length))


def _mean_loss(trainer: DistillTrainer, examples: Examples) -> float:
    """The objective per response token, in nats."""
    model, total, limits = trainer.model_wrapped.eval(), 0.0, trainer.data_collator
    for places in by_length(examples.lengths, rows=limits.rows, tokens=limits.tokens):
        batch: Batch = collate([examples[place] for place in places])
        with torch.no_grad():
            total += float(trainer.loss(model, {k: v.to(trainer.args.device) for k, v in batch.items()}).total)
    return total / examples.response_tokens


def _steps(trainer: DistillTrainer) -> list[dict[str, float]]:
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def _line(entry: Mapping[str, float]) -> dict[str, Json]:
    """A line of the curve: the columns of every step, then the parts of its loss."""
    parts = {name: value for name, value in entry.items() if name not in (*_CURVE, "epoch", SECONDS, FLOPS)}
    return {name: entry.get(name) for name in _CURVE} | parts


def _summary(examples: Examples, trainer: DistillTrainer) -> dict[str, Json]:
    steps = _steps(trainer)
    refused = examples.refused
    return ({"refused": refused} if refused else {}) | {
        "rows": examples.rows,
        "trained_rows": len(examples),
        "skipped": examples.skipped,
        "truncated": examples.truncated,
        "response_tokens": examples.response_tokens,
        "domains": examples.by_domain,
        "steps": trainer.state.global_step,
        "processes": trainer.args.world_size,
        "seconds": round(sum(entry[SECONDS] for entry in steps), 3),
        "train_flops": sum(entry[FLOPS] for entry in steps),
    }


def check_trainable(folder: Path) -> None:
    """HarnessError for a model whose weights are quantised."""
    if method := quantised(folder):
        raise HarnessError(
            f"the weights are quantised ({method}) and cannot be trained",
            where=str(folder),
            fix="Name the unquantised checkpoint. Only teachers, which stay as they are, may be quantised.",
        )


def _quantised_teachers(place: TrainPlace) -> dict[str, Json]:
    """How the weights of each teacher that is quantised are quantised, by role."""
    methods = {role: quantised(folder) for role, folder in place.teachers.items()}
    for stored in place.targets:
        methods[stored.role] = read_json(stored.folder / "targets.json").get("quantised", "")
    return {role: method for role, method in methods.items() if method}


def _check_vocabulary(student: Path, teacher: Path) -> None:
    if difference := tokenizer_difference(student, teacher):
        raise HarnessError(
            f"student and teacher have different tokenizers: {difference}",
            fix="Distillation on logits needs one vocabulary: choose a teacher of the student's family, or train on "
            "the teacher's responses with `sft: {data: teacher}`.",
        )


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore every random generator of the process at the end, because the Trainer seeds them all."""
    python, arrays = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
