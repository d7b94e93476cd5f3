"""What a teacher predicts for a dataset, stored once for every training that learns from it."""

from harness.stages.api import Context, Kind, Stage
from harness.stages.model import PlannedModel
from harness.train.settings import TargetSettings


def stage(teacher: PlannedModel, data: Stage, settings: TargetSettings, gpus: int) -> Stage:
    """The stage that stores `teacher`'s targets for `data`, as a step with these settings reads them."""
    params = {
        "part": teacher.part,
        "top_k": settings.top_k,
        "temperature": settings.temperature,
        "max_length": settings.max_length,
        "dtype": settings.dtype,
    }
    inputs = {"teacher": teacher.stage, "data": data}
    return Stage(KIND.name, KIND.version, params, inputs, gpus=gpus, title=f"targets of {teacher.name}, {data.title}")


def _run(ctx: Context) -> None:
    from harness.train.targets import TargetPass, write_targets

    params = dict(ctx.params)
    write_targets(
        ctx.inputs["teacher"] / params.pop("part"),
        ctx.inputs["data"] / "conversations.jsonl",
        TargetPass(**params),
        out=ctx.out,
        work=ctx.work,
        progress=ctx.progress,
    )


KIND = Kind("targets", 2, _run, bulk=("*.npy",))
