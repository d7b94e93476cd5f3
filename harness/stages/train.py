"""One training step: a model and conversations to a tuned Hugging Face folder (`model/`), its curve and its counts."""

import json

from harness.core.seeds import derive_seed
from harness.core.settings import identity
from harness.stages.api import Context, Kind, Stage
from harness.stages.model import Weights
from harness.train.api import steps
from harness.train.settings import StepSettings


def stage(
    step: str,
    settings: StepSettings,
    student: Weights,
    data: Stage,
    teacher: Weights | None,
    seed: int,
    gpus: int,
    name: str,
) -> Weights:
    """The stage of one step for the cell `name`; `teacher` is given where its loss asks for logits."""
    inputs = {"student": student.stage, "data": data}
    parts = {"student": student.part}
    if teacher is not None:
        inputs["teacher"] = teacher.stage
        parts["teacher"] = teacher.part
    params = {"step": step, "settings": identity(settings), "seed": seed, "parts": parts}
    execution = {"save_every": settings.save_every}
    made = Stage(KIND.name, KIND.version, params, inputs, execution, gpus=gpus, title=f"{step} {name}")
    return Weights(made, name, "model")


def _run(ctx: Context) -> None:
    from harness.train.run import train

    step = steps()[ctx.params["step"]]
    settings = step.settings.model_validate_json(json.dumps(ctx.params["settings"] | ctx.execution), by_name=True)
    folders = {role: ctx.inputs[role] / part for role, part in ctx.params["parts"].items()}
    train(
        folders["student"],
        ctx.inputs["data"] / "conversations.jsonl",
        step,
        settings,
        out=ctx.out,
        work=ctx.work,
        seed=derive_seed(ctx.params["seed"], "train"),
        progress=ctx.progress,
        teacher_folder=folders.get("teacher"),
    )


KIND = Kind("train", 1, _run)
