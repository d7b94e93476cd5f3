"""What a teacher predicts for a dataset, stored once for every training that learns from it."""

from harness.stages.api import Context, Kind, Stage
from harness.stages.model import PlannedModel
from harness.train.settings import TargetSettings


def stage(teacher: PlannedModel, tokens: Stage, settings: TargetSettings, gpus: int) -> Stage:
    """The stage that stores `teacher`'s targets for a dataset's `tokens`, as a step with these settings reads them."""
    params = {
        "part": teacher.part,
        "top_k": settings.top_k,
        "temperature": settings.temperature,
        "dtype": settings.dtype,
    }
    inputs = {"teacher": teacher.stage, "tokens": tokens}
    return Stage(KIND.name, KIND.version, params, inputs, gpus=gpus, title=f"targets of {teacher.name}, {tokens.title}")


def _run(ctx: Context) -> None:
    from harness.train.targets import TargetPass, write_targets

    params = dict(ctx.params)
    write_targets(
        ctx.inputs["teacher"] / params.pop("part"),
        ctx.inputs["tokens"],
        TargetPass(**params),
        out=ctx.out,
        work=ctx.work,
        progress=ctx.progress,
    )


KIND = Kind("targets", 3, _run, bulk=("*.npy",))
