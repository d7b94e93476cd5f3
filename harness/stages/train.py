"""One training step: a model and conversations to a tuned Hugging Face folder (`model/`), its curve and its counts."""

import json
from collections.abc import Mapping

from harness.core.seeds import derive_seed
from harness.core.settings import identity
from harness.stages.api import Context, Kind, Stage
from harness.stages.model import Weights
from harness.train.api import steps
from harness.train.settings import StepSettings

_TEACHER = "teacher:"


def stage(
    step: str,
    settings: StepSettings,
    student: Weights,
    data: Stage,
    teachers: Mapping[str, Weights],
    seed: int,
    gpus: int,
    name: str,
) -> Weights:
    """The stage of one step for the cell `name`; `teachers` by role, where its loss asks for their logits."""
    inputs = {"student": student.stage, "data": data} | {_TEACHER + r: w.stage for r, w in teachers.items()}
    parts = {"student": student.part} | {_TEACHER + role: teacher.part for role, teacher in teachers.items()}
    params = {"step": step, "settings": identity(settings), "seed": seed, "parts": parts}
    execution = {name: getattr(settings, name) for name in ("save_every", "gradient_checkpointing")}
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
        teachers={r.removeprefix(_TEACHER): folder for r, folder in folders.items() if r.startswith(_TEACHER)},
    )


KIND = Kind("train", 2, _run)
