"""Knowledge distillation on logits: (1 - lambda) CE + lambda T^2 KL(teacher || student). arXiv 2406.19112."""

from typing import Any

from pydantic import Field

from harness.train.api import Objective, Step
from harness.train.settings import StepSettings


class KDSettings(StepSettings):
    """Knowledge distillation."""

    lambda_: float = Field(1.0, ge=0, le=1, alias="lambda")
    """Weight of the distillation term; 1 (the paper's default) leaves no cross-entropy."""
    temperature: float = Field(1.0, gt=0)


def _needs_teacher(settings: KDSettings) -> bool:
    return settings.lambda_ > 0


def _objective(settings: KDSettings, teacher: Any, words: int) -> Objective:
    from harness.train.losses import kd_loss

    return kd_loss(teacher, settings.lambda_, settings.temperature, words)


STEP = Step("kd", KDSettings, _objective, _needs_teacher)
