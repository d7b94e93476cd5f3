"""The mean of the models that a training kept on its way, as one model (arXiv 2508.13144)."""

from collections.abc import Sequence

from harness.stages.api import Context, Kind, Stage
from harness.stages.model import PlannedModel
from harness.train.settings import checkpoint_part

_TRAINED, _PART = "model", "model"


def stage(trained: PlannedModel, fractions: Sequence[float]) -> PlannedModel:
    """The stage that averages the models that `trained` kept at `fractions` of its steps."""
    params = {"parts": [checkpoint_part(fraction) for fraction in fractions]}
    title = f"mean of {len(fractions)} checkpoints of {trained.name}"
    made = Stage(KIND.name, KIND.version, params, {_TRAINED: trained.stage}, title=title)
    return PlannedModel(made, trained.name, _PART)


def trained_of(made: Stage) -> PlannedModel:
    """One of the models that are averaged; all have its tokenizer and its shape."""
    return PlannedModel(made.inputs[_TRAINED], made.title, made.params["parts"][-1])


def _run(ctx: Context) -> None:
    from harness.models.weights import write_mean

    write_mean([ctx.inputs[_TRAINED] / part for part in ctx.params["parts"]], ctx.out / _PART)


KIND = Kind("average", 1, _run, bulk=(_PART,))
