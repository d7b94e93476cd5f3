"""Whether a plan's stages fit where they are to run: memory by stage and device, and the nearest change that fits."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.settings import restore
from harness.judge.settings import ServeSettings
from harness.models.shape import Shape
from harness.plan.amounts import amount
from harness.plan.devices import Device
from harness.plan.shapes import Shapes
from harness.stages import (
    answer,
    average,
    measure,
    respond,
    reward,
    reward_model,
    targets,
    tokens,
    train,
    upcycle,
    utilisation,
)
from harness.stages import model as models
from harness.stages.api import Stage
from harness.stages.conversing import settings_of
from harness.train.footprint import Footprint, forward_pass, generating, reward_training, size_of, training
from harness.train.job import TrainJob
from harness.train.settings import TARGET_TOKENS, StepSettings, TargetSettings

_MOST_PROCESSES = 64
_BATCH_TOKENS = 2048
"""Of a pass that makes its batches smaller until they fit."""


@dataclass(frozen=True)
class Fit:
    """A stage's peak on a device."""

    stage: Stage
    peak: Footprint
    remedy: str = ""
    """The nearest change that fits, where the stage does not."""


def fits(stages: Iterable[Stage], shapes: Shapes, device: Device) -> list[Fit]:
    """The peak of each stage in which a model of a known shape is at work."""
    found: list[Fit] = []
    for stage in stages:
        peak = footprint(stage, shapes, on_gpu=device.on_gpu)
        if peak is None:
            continue
        over = device.memory_bytes is not None and peak.total > device.memory_bytes
        found.append(Fit(stage, peak, _remedy(stage, shapes, device) if over else ""))
    return found


def check(stages: Iterable[Stage], shapes: Shapes, device: Device) -> None:
    """HarnessError where a stage does not fit: before anything runs, not after hours.

    Raises:
        HarnessError: names the largest of them, what takes its memory, and the nearest change that fits.
    """
    over = [fit for fit in fits(stages, shapes, device) if fit.remedy]
    if over:
        raise refusal(max(over, key=lambda fit: fit.peak.total), len(over), device)


def refusal(fit: Fit, count: int, device: Device) -> HarnessError:
    """The error about the largest of `count` stages that do not fit."""
    assert device.memory_bytes is not None, "only of a device of known size"
    parts = sorted(fit.peak.parts.items(), key=lambda part: -part[1])
    named = ", ".join(f"{name} {gigabytes(size)}" for name, size in parts if size >= 0.01 * fit.peak.total)
    others = f"; it is the largest of {count} stages that do not fit" if count > 1 else ""
    what = f"takes {gigabytes(fit.peak.total)} on each device ({named}), and {device.name} has "
    return HarnessError(what + gigabytes(device.memory_bytes) + others, where=fit.stage.title, fix=fit.remedy)


def gigabytes(size: float) -> str:
    """Bytes in words, in units of 10^9."""
    return f"{size / 1e9:,.0f} GB" if size >= 1e10 else f"{size / 1e9:.2g} GB"


def footprint(stage: Stage, shapes: Shapes, *, on_gpu: bool) -> Footprint | None:
    """The peak of a stage on each of its devices; None where no model of a known shape is at work.

    Where batches are made smaller until they fit, it is what the stage needs at least.
    """
    if stage.kind == train.KIND.name:
        known = _trained(stage, shapes)
        return known and training(*known, on_gpu=on_gpu)
    model = model_of(stage)
    shape = shapes.of(model, stage.params.get("part", "")) if model is not None else None
    if shape is None:
        return None
    devices = max(1, stage.gpus)
    match stage.kind:
        case answer.KIND.name | respond.KIND.name:
            settings = settings_of(stage.params, stage.execution)
            if settings.engine == "vllm":
                devices = settings.tensor_parallel
            return generating(shape, settings.dtype, 1, settings.max_length, devices, on_gpu=on_gpu)
        case targets.KIND.name:
            return forward_pass(shape, stage.params["dtype"], TARGET_TOKENS, devices, on_gpu=on_gpu)
        case tokens.KIND.name:
            batch = stage.execution["batch_tokens"] if on_gpu else _BATCH_TOKENS
            return forward_pass(shape, stage.params["scoring"]["dtype"], batch, devices, on_gpu=on_gpu)
        case reward_model.KIND.name:
            trained = restore(StepSettings, stage.params["settings"] | stage.execution)
            return reward_training(trained, shape, trained.max_length, on_gpu=on_gpu)
        case _ if "judge" in stage.inputs:
            serve = restore(ServeSettings, stage.execution["judge"]["serve"])
            dtype = "float32" if serve.dtype == "float32" else "bfloat16"
            return generating(shape, dtype, 1, serve.max_length, on_gpu=on_gpu)
        case reward.KIND.name:
            return forward_pass(shape, stage.params["reward"]["dtype"], _BATCH_TOKENS, devices, on_gpu=on_gpu)
    peak = forward_pass(shape, stage.params["dtype"], _BATCH_TOKENS, devices, on_gpu=on_gpu)
    if (teacher := stage.inputs.get("teacher")) is None:
        return peak
    beside = shapes.of(teacher, stage.params["teacher_part"])
    weights = size_of(stage.params["dtype"]) * beside.parameters / devices if beside else 0.0
    return Footprint({**peak.parts, "teacher": weights})


def model_of(stage: Stage) -> Stage | None:
    """The model that is at work in a stage, but for a student's training: a judge that is served for it, too."""
    kinds = (answer, respond, measure, utilisation, reward)
    names = {kind.KIND.name: "model" for kind in kinds} | {
        targets.KIND.name: "teacher",
        tokens.KIND.name: "student",
        reward_model.KIND.name: "base",
    }
    return stage.inputs.get(names.get(stage.kind, "judge"), stage.inputs.get("judge"))


def _trained(stage: Stage, shapes: Shapes) -> tuple[TrainJob, Shape, Mapping[str, Shape], int] | None:
    """What the memory of a training follows from; None where a shape is not known."""
    job, start = TrainJob.restore(stage.params, stage.execution), train.student_of(stage)
    student = shapes.of(start.stage, start.part)
    teachers = {role: shapes.of(t.stage, t.part) for role, t in train.teachers_of(stage).items()}
    known = {role: shape for role, shape in teachers.items() if shape is not None}
    if student is None or len(known) < len(teachers):
        return None
    sampling = job.step.sampling(job.settings)
    written = sampling.max_new_tokens if sampling else 0  # behind a prompt that may be almost the whole conversation
    longest = int(min(job.settings.max_length, amount(train.data_of(stage)).longest + written))
    return job, student, known, max(longest, 1)


def _remedy(stage: Stage, shapes: Shapes, device: Device) -> str:
    """The nearest change with which a stage fits, in the words of a recipe."""
    assert device.memory_bytes is not None, "only of a device of known size"
    if stage.kind == reward_model.KIND.name:
        return "Lower `micro_batch_size` or set `gradient_checkpointing: true` for it, or take a larger device."
    if stage.kind != train.KIND.name:
        return _spread(stage, shapes, device)
    known = _trained(stage, shapes)
    assert known is not None, "its peak is known"
    job, student, teachers, longest = known
    for words, changed, beside in _changes(job, teachers, on_gpu=device.on_gpu):
        peak = training(changed, student, beside, longest, on_gpu=device.on_gpu).total
        if peak <= device.memory_bytes:
            return f"The nearest change that fits ({gigabytes(peak)}): {words}."
    return "No change of micro-batch, checkpointing, sharding, offload or cached targets fits: take a larger device."


def _changes(
    job: TrainJob, teachers: Mapping[str, Shape], *, on_gpu: bool
) -> Iterator[tuple[str, TrainJob, Mapping[str, Shape]]]:
    """Changes of a training, those of few settings first: in words, the job, and the teachers beside the student."""
    settings, parallel = job.settings, job.parallel
    rows = [settings.micro_batch_size >> halving for halving in range(1, settings.micro_batch_size.bit_length())]
    can_cache = isinstance(settings, TargetSettings) and teachers and not getattr(settings, "w_attn", 0)
    counts = [2**power for power in range(1, 7) if parallel.processes < 2**power <= _MOST_PROCESSES]
    sharded = [{"sharding": "fsdp", "processes": count} for count in counts] if on_gpu else []
    if parallel.sharding == "none" and parallel.processes > 1 and on_gpu:
        sharded = [{"sharding": "fsdp"}, *sharded]
    options: list[list[dict[str, Json]]] = [
        [{}, *({"micro_batch_size": count} for count in rows if settings.micro_batch_tokens is None)],
        [{}, *([] if settings.gradient_checkpointing else [{"gradient_checkpointing": True}])],
        [{}, *([{"targets": "cached"}] if can_cache else [])],
        [{}, *([{"offload_teachers": True}] if teachers and on_gpu else [])],
        [{}, *sharded],
    ]
    # Of changes in equally many places those of the earlier options come first.
    order = sorted(itertools.product(*options), key=lambda parts: (sum(map(bool, parts)), [not part for part in parts]))
    for chosen in order:
        change = {name: value for part in chosen for name, value in part.items()}
        of_step = {name: value for name, value in change.items() if name in type(settings).model_fields}
        of_processes = {name: value for name, value in change.items() if name not in of_step}
        processes = parallel.model_copy(update=of_processes)
        if not change or (processes.offload_teachers and processes.sharding == "none"):
            continue
        changed = TrainJob(
            job.step,
            settings.model_copy(update=of_step),
            job.seed,
            job.name,
            domains=job.domains,
            parallel=processes,
        )
        if "processes" in of_processes:
            of_processes = {"gpus": of_processes["processes"], **of_processes}
        words = [f"`{_yaml(of_step)}`"] * bool(of_step) + [f"`resources: {{{_yaml(of_processes)}}}`"] * bool(
            of_processes
        )
        yield " with ".join(words), changed, {} if of_step.get("targets") == "cached" else teachers


def _yaml(values: Mapping[str, Json]) -> str:
    """Settings as a recipe has them, in a line."""
    return ", ".join(f"{name}: {str(value).lower()}" for name, value in values.items())


def _spread(stage: Stage, shapes: Shapes, device: Device) -> str:
    """The GPUs over which a model must be spread."""
    if "judge" in stage.inputs:
        return "Serve a smaller judge, or take a larger device."
    vllm = "generate" in stage.params and stage.params["generate"]["engine"] == "vllm"
    key = "generate: {tensor_parallel: N}` and `resources: {gpus: N}" if vllm else "resources: {gpus: N}"
    alone = footprint(stage, shapes, on_gpu=device.on_gpu)
    assert alone is not None, "its peak is known"
    assert device.memory_bytes is not None, "only of a device of known size"
    held = max(1, stage.gpus) * alone.parts["weights"]
    room = device.memory_bytes - (alone.total - alone.parts["weights"]) - 0.1 * alone.parts["weights"]
    count = next((n for n in (2**power for power in range(1, 7)) if held / n <= room), None) if room > 0 else None
    if count is None or not device.on_gpu:
        return "Take a smaller model, `dtype: bfloat16`, or a larger device."
    return f"The nearest change that fits: `{key.replace('N', str(count))}`, which spreads the model."


def on_disk(stage: Stage, shapes: Shapes) -> tuple[float, float]:
    """Bytes that a stage leaves in the store, and those that it needs beside them while it runs; models and targets."""
    match stage.kind:
        case train.KIND.name:
            start = train.student_of(stage)
            shape, kept = shapes.of(start.stage, start.part), len(stage.params["checkpoints"])
            # A step checkpoint holds weights and Adam's state in float32, and the next is written before it goes.
            return (4.0 * kept * shape.parameters, 24.0 * shape.parameters) if shape else (0.0, 0.0)
        case targets.KIND.name:
            shape, encoded = shapes.of(stage.inputs["teacher"], stage.params["part"]), stage.inputs["tokens"]
            size = amount(encoded.inputs["data"])
            entry = 4 + (2 if shape is not None and shape.vocab_size <= 1 << 16 else 4)
            positions = size.rows * min(size.tokens, encoded.params["max_length"])
            return positions * stage.params["top_k"] * entry, 0.0
        case upcycle.KIND.name | average.KIND.name | models.IMPORT.name | models.POCKET.name:
            shape = shapes.of(stage)
            return (4.0 * shape.parameters, 0.0) if shape else (0.0, 0.0)
    return 0.0, 0.0
