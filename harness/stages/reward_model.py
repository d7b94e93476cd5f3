"""A small Bradley-Terry reward model from preference pairs: a Hugging Face folder (`model/`) with one label."""

from pathlib import Path

from harness.core.seeds import derive_seed
from harness.core.settings import identity, restore
from harness.stages.api import Context, Kind, Stage
from harness.stages.model import PlannedModel
from harness.stages.pinned import pinned_file
from harness.train.settings import OptimSettings


def stage(base: PlannedModel, pairs: Path, settings: OptimSettings, seed: int, gpus: int) -> PlannedModel:
    """The stage that trains `base` on a file of preference pairs."""
    params = {"settings": identity(settings), "seed": seed, "part": base.part}
    inputs = {"base": base.stage, "pairs": pinned_file(pairs)}
    name = f"reward model on {pairs.name}"
    execution = settings.model_dump(include={"save_every", "gradient_checkpointing"})
    made = Stage(KIND.name, KIND.version, params, inputs, execution, gpus=gpus, title=name)
    return PlannedModel(made, name, "model")


def _run(ctx: Context) -> None:
    from harness.train.reward import train_reward

    settings = restore(OptimSettings, ctx.params["settings"] | ctx.execution)
    train_reward(
        ctx.inputs["base"] / ctx.params["part"],
        ctx.inputs["pairs"],
        settings,
        ctx.out,
        ctx.work,
        derive_seed(ctx.params["seed"], "reward model"),
        ctx.progress,
    )


KIND = Kind("reward_model", 3, _run, bulk=("model",))
