"""A training pipeline as stages: each step starts from the model of the step before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.data.settings import DataSettings
from harness.models.settings import ModelSettings
from harness.plan import sources, teachers
from harness.plan.context import CellContext
from harness.recipe.schema import TrainStep
from harness.stages import average, command, encode, mix, select, train
from harness.stages import targets as targets_stage
from harness.stages.api import Stage
from harness.stages.model import PlannedModel
from harness.train.api import steps
from harness.train.job import TrainJob
from harness.train.settings import HeldOut, StepData, StepSettings, TargetSettings
from harness.train.steps.command import CommandSettings


@dataclass(frozen=True)
class Pipeline:
    """The training steps of a model, their data and their seed."""

    name: str
    steps: Sequence[TrainStep]
    data: DataSettings
    seed: int
    checkpoints: Sequence[float] = (1.0,)
    """Fractions of the last step at which the model is kept."""


def learned_from(model: Stage) -> list[Stage]:
    """The datasets of a model's trainings and of those of every model that it was made from or taught by."""
    return [train.data_of(stage) for stage in model.walk() if stage.kind == train.KIND.name]


@dataclass(frozen=True)
class Trained:
    """What a pipeline makes."""

    steps: list[PlannedModel]
    """Each step's training, in order."""
    model: PlannedModel
    """The model at the end: of the last step, or the mean that it asks for."""


def trained(ctx: CellContext, pipeline: Pipeline, start: PlannedModel) -> Trained:
    """The trainings of a pipeline, each of the model that the one before made."""
    steps: list[PlannedModel] = []
    for number, step in enumerate(pipeline.steps, 1):
        kept = pipeline.checkpoints if number == len(pipeline.steps) else (1.0,)
        fractions = step.settings.average if isinstance(step.settings, StepSettings) else None
        here = replace(pipeline, checkpoints=sorted({*kept, *(fractions or ())}))
        start = _step(ctx, here, step.name, step.settings, start)
        steps.append(start)
        if fractions:
            start = ctx.graph.share_model(average.stage(start, fractions))
    return Trained(steps, start)


def teacher_data(ctx: CellContext, data: DataSettings) -> Stage:
    """The teacher's responses: recorded, or generated for `data.prompts`."""
    teacher = ctx.settings.teacher
    assert teacher is not None, "the schema checks that there is a teacher"
    if teacher.recorded is not None:
        return sources.dataset(ctx, teacher.recorded, "recorded responses")
    return teachers.responses(ctx, sources.dataset(ctx, data.prompts or data.train, "prompts"))


def _step(ctx: CellContext, pipeline: Pipeline, step: str, settings: StepData, start: PlannedModel) -> PlannedModel:
    if isinstance(settings, StepSettings):
        return _selected(ctx, pipeline, step, settings, start)
    assert isinstance(settings, CommandSettings), "only a command has no StepSettings"
    data, gpus = _data(ctx, settings, pipeline.data), ctx.settings.resources.gpus
    return ctx.graph.share_model(command.stage(settings, start, data, pipeline.seed, gpus, pipeline.name))


def _selected(
    ctx: CellContext, pipeline: Pipeline, step: str, settings: StepSettings, start: PlannedModel
) -> PlannedModel:
    """A training; with `select` a training per candidate, and the choice among them by the same held-out examples."""
    if settings.select is None:
        return _trained(ctx, pipeline, step, settings, start)
    held_out = HeldOut(settings.select.held_out, ctx.settings.data_seed)
    candidates = []
    for rate in settings.select.learning_rate:
        candidate = settings.model_copy(update={"learning_rate": rate, "select": None})
        named = replace(pipeline, name=f"{pipeline.name}, learning rate {rate:g}")
        candidates.append(_trained(ctx, named, step, candidate, start, held_out))
    return ctx.graph.share_model(select.stage(step, settings.select, candidates, pipeline.name))


def _trained(
    ctx: CellContext,
    pipeline: Pipeline,
    step: str,
    settings: StepSettings,
    start: PlannedModel,
    held_out: HeldOut | None = None,
) -> PlannedModel:
    resources, settings = ctx.settings.resources, settings.model_copy(update={"average": None})
    models = {role: _teacher_of(ctx, of, start) for role, of in steps()[step].teachers(settings).items()}
    targets: dict[tuple[str, str | None], Stage] = {}
    if isinstance(settings, TargetSettings) and settings.targets == "cached":
        targets, models = _targets(ctx, step, settings, pipeline.data, models), {}
    job = TrainJob(
        steps()[step],
        settings,
        pipeline.seed,
        pipeline.name,
        domains=pipeline.data.domain_names if settings.data == "mix" else (),
        checkpoints=pipeline.checkpoints,
        held_out=held_out,
        parallel=resources,
    )
    tokens = [_tokens(ctx, start, part, settings) for part in _parts(ctx, settings, pipeline.data).values()]
    data = train.TrainData(_data(ctx, settings, pipeline.data), tokens, settings.data == "mix")
    return ctx.graph.share_model(train.stage(job, start, data, models, targets, resources.gpus))


def _parts(ctx: CellContext, settings: StepData, data: DataSettings) -> dict[str | None, Stage]:
    """The datasets of a step by domain (None: general conversations), which are encoded as they are.

    They are not encoded as a mix of them, so that all ratios and seeds share their tokens.
    """
    if settings.data != "mix":
        return {None: _data(ctx, settings, data)}
    return {None: sources.dataset(ctx, data.train, "train")} | dict(sources.domains(ctx, data))


def _tokens(ctx: CellContext, model: PlannedModel, data: Stage, settings: StepSettings) -> Stage:
    source = encode.tokenizer_of(model)
    return ctx.graph.share(ctx.graph.once(encode.stage, source.stage, source.part, data, settings.max_length))


def _teacher_of(ctx: CellContext, of: str, start: PlannedModel) -> PlannedModel:
    """The model that a role's `of` stands for (`Step.teachers`)."""
    if of == "student":
        return start
    if of == "teacher":
        teacher = sources.teacher_model(ctx)
        assert teacher is not None, "the schema checks that the teacher has weights"
        return teacher
    return sources.model(ctx, ModelSettings(model=of))


def _targets(
    ctx: CellContext, step: str, settings: TargetSettings, data: DataSettings, models: Mapping[str, PlannedModel]
) -> dict[tuple[str, str | None], Stage]:
    """The stages that store what teachers predict, by role and domain (None: general conversations).

    A teacher predicts only the domains that the step's loss asks it about (`Step.asks`). It reads the recipe's
    datasets, not a mix of them, so that all ratios, students and seeds share its pass.
    """
    graph, gpus = ctx.graph, ctx.settings.resources.gpus
    return {
        (role, domain): graph.share(
            graph.once(targets_stage.stage, model, _tokens(ctx, model, part, settings), settings, gpus)
        )
        for role, model in models.items()
        for domain, part in _parts(ctx, settings, data).items()
        if steps()[step].asks(role, domain)
    }


def _data(ctx: CellContext, settings: StepData, data: DataSettings) -> Stage:
    if settings.data == "train":
        return sources.dataset(ctx, data.train, "train")
    if settings.data == "domain":
        return sources.dataset(ctx, data.domain, "domain")
    if settings.data == "mix":
        general, domains = sources.dataset(ctx, data.train, "train"), sources.domains(ctx, data)
        return ctx.graph.share(mix.stage(settings, general, domains, ctx.settings.data_seed))
    return teacher_data(ctx, data)
