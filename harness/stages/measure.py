"""A measured benchmark takes its samples from the model itself."""

from harness.bench.api import Measured, samples_frame
from harness.core.seeds import derive_seed
from harness.generate.api import GenerateSettings
from harness.stages import benchmarks
from harness.stages.api import Context, Kind, Stage
from harness.stages.model import PlannedModel

FILES = "files"
"""The folder of an artifact that holds the files of the benchmark's own tools."""


def stage(
    bench: benchmarks.PinnedBenchmark,
    model: PlannedModel,
    settings: GenerateSettings,
    eval_seed: int,
    gpus: int,
    teacher: PlannedModel | None = None,
) -> Stage:
    """The stage in which one benchmark measures `model`, beside a `teacher` where it asks for one."""
    beside = {} if teacher is None else {"teacher_part": teacher.part}
    return Stage(
        kind=KIND.name,
        version=KIND.version,
        params={**bench.params, "dtype": settings.dtype, "eval_seed": eval_seed, "part": model.part, **beside},
        inputs={"model": model.stage, **({} if teacher is None else {"teacher": teacher.stage}), **bench.files},
        execution={**bench.execution, "batch_size": settings.batch_size},
        gpus=gpus,
        plugins=bench.plugins,
        title=f"{bench.name}: measures of {model.name}",
    )


def _run(ctx: Context) -> None:
    out = ctx.out / FILES
    out.mkdir()
    model = Measured(
        folder=ctx.inputs["model"] / ctx.params["part"],
        dtype=ctx.params["dtype"],
        batch_size=ctx.execution["batch_size"],
        seed=derive_seed(ctx.params["eval_seed"], "measure", ctx.params["benchmark"]),
        out=out,
        progress=ctx.progress,
        teacher=ctx.inputs["teacher"] / ctx.params["teacher_part"] if "teacher" in ctx.inputs else None,
    )
    samples_frame(benchmarks.open_measured(ctx).measure(model)).to_parquet(ctx.out / "samples.parquet", index=False)


KIND = Kind("measure", 1, _run)
