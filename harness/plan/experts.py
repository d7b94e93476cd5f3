"""Mixtures of experts in a plan: which models have routers, the stage that reads them, the loss that balances them."""

import json
from pathlib import Path

from harness.core.errors import HarnessError
from harness.generate.api import GenerateSettings
from harness.recipe.schema import TrainStep
from harness.stages import benchmarks, upcycle, utilisation
from harness.stages.api import Stage
from harness.stages.model import POCKET, PlannedModel
from harness.train.settings import StepSettings


def routed(stage: Stage) -> bool | None:
    """Whether the model that a stage makes is a mixture of experts; None where only its weights can tell."""
    if stage.kind == upcycle.KIND.name:
        return True
    if stage.kind == POCKET.name:
        return bool(stage.params["spec"]["architecture"] == "mixtral")
    if stage.path is not None:
        return _configured(stage.path)
    made_from = stage.inputs.get("student") or stage.inputs.get("model") or stage.inputs.get("candidate:0")
    return routed(made_from) if made_from else None


def _configured(path: Path) -> bool | None:
    config = path / "config.json"
    return bool(json.loads(config.read_text()).get("model_type") == "mixtral") if config.is_file() else None


def utilisation_of(
    bench: benchmarks.PinnedBenchmark, model: PlannedModel, settings: GenerateSettings, gpus: int
) -> Stage | None:
    """The stage that reads which experts a benchmark's questions go to; None for a model not known to have experts."""
    return utilisation.stage(bench, model, settings, gpus) if routed(model.stage) else None


def check_router_loss(cell: str, steps: list[TrainStep], student: PlannedModel) -> None:
    """HarnessError where a step balances the routers of a student that is known to have none."""
    for step in steps:
        settings = step.settings
        if isinstance(settings, StepSettings) and settings.router_loss > 0 and routed(student.stage) is False:
            raise HarnessError(
                f"{step.name} has a router_loss and its student {student.name} has no experts",
                where=cell,
                fix="Set router_loss to 0 for a dense student, or give it `architecture: {experts: 2, per_token: 1}`.",
            )
