"""One training step: a model and conversations to a tuned Hugging Face folder (`model/`), its curve and its counts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from harness.core.discover import used
from harness.stages import mix
from harness.stages.api import Context, Kind, Stage
from harness.stages.model import PlannedModel
from harness.train.job import StoredTargets, TrainJob, TrainPlace

_STUDENT, _DATA, _TEACHER, _TARGETS, _TOKENS = "student", "data", "teacher:", "targets:", "tokens:"

Targets = Mapping[tuple[str, str | None], Stage]
"""Stored targets by the role of who predicted them and the domain of the conversations (None: general ones)."""


@dataclass(frozen=True)
class TrainData:
    """What a training learns from."""

    conversations: Stage
    """The dataset, or the mix."""
    tokens: Sequence[Stage]
    """The stored tokens of the dataset, or those of a mix's general conversations and of each domain, in order."""
    is_mix: bool = False


def stage(
    job: TrainJob,
    student: PlannedModel,
    data: TrainData,
    teachers: Mapping[str, PlannedModel] = MappingProxyType({}),
    targets: Targets = MappingProxyType({}),
    gpus: int = 0,
) -> PlannedModel:
    """The stage of a job. A teacher comes by its role, as weights or as `targets` that were stored earlier."""
    models = {_STUDENT: student} | {_TEACHER + role: teacher for role, teacher in teachers.items()}
    inputs = {_DATA: data.conversations} | {role: model.stage for role, model in models.items()}
    inputs |= {f"{_TOKENS}{number}": tokens for number, tokens in enumerate(data.tokens)}
    inputs |= {f"{_TARGETS}{role}:{domain or ''}": made for (role, domain), made in targets.items()}
    params = job.identity | {"parts": {role: model.part for role, model in models.items()}, "mix": data.is_mix}
    made = Stage(
        KIND.name,
        KIND.version,
        params,
        inputs,
        job.execution,
        gpus=gpus,
        plugins=used("STEP", [job.step.name]),
        title=job.title,
    )
    return PlannedModel(made, job.name, "model")


def student_of(made: Stage) -> PlannedModel:
    """The model that a training starts from."""
    return PlannedModel(made.inputs[_STUDENT], made.title, made.params["parts"][_STUDENT])


def teachers_of(made: Stage) -> dict[str, PlannedModel]:
    """The models that run beside the student of a training, by role."""
    parts: Mapping[str, str] = made.params["parts"]
    roles = [name.removeprefix(_TEACHER) for name in made.inputs if name.startswith(_TEACHER)]
    return {role: PlannedModel(made.inputs[_TEACHER + role], made.title, parts[_TEACHER + role]) for role in roles}


def data_of(made: Stage) -> Stage:
    """The dataset, or the mix, that a training learns from."""
    return made.inputs[_DATA]


def _run(ctx: Context) -> None:
    job = TrainJob.restore(ctx.params, ctx.execution)
    place = _place(ctx, job.title)
    if job.parallel.processes > 1:
        from harness.train.processes import train_in_processes

        train_in_processes(job, place, ctx.progress)
    else:
        from harness.train.run import train

        train(job, place, ctx.progress)


def _place(ctx: Context, title: str) -> TrainPlace:
    models = {role: ctx.inputs[role] / part for role, part in ctx.params["parts"].items()}
    targets = []
    for name, folder in ctx.inputs.items():
        if name.startswith(_TARGETS):
            role, _, domain = name.removeprefix(_TARGETS).partition(":")
            targets.append(StoredTargets(role, domain or None, folder))
    return TrainPlace(
        student=models[_STUDENT],
        tokens=[ctx.inputs[name] for name in sorted((n for n in ctx.inputs if n.startswith(_TOKENS)), key=_number)],
        mix=ctx.inputs[_DATA] / mix.ROWS if ctx.params["mix"] else None,
        out=ctx.out,
        work=ctx.work,
        events=_events(ctx, title),
        teachers={r.removeprefix(_TEACHER): folder for r, folder in models.items() if r.startswith(_TEACHER)},
        targets=targets,
    )


def _number(name: str) -> int:
    return int(name.partition(":")[2])


def _events(ctx: Context, title: str) -> Path:
    """Where TensorBoard looks for this training's curve."""
    name = re.sub(r"[^\w.=,+-]+", "-", title)
    return ctx.store.root / "logs" / "tensorboard" / f"{name}-{ctx.id[:8]}"


KIND = Kind("train", 6, _run, bulk=("model", "checkpoint-*"))
