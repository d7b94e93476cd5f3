"""Knowledge distillation on logits: (1 - lambda) CE + lambda T^2 KL(teacher || student). arXiv 2406.19112."""

from collections.abc import Mapping

from harness.train.api import Objective, Step, Teacher
from harness.train.settings import TargetSettings


class KDSettings(TargetSettings):
    """Knowledge distillation."""


def _teachers(settings: KDSettings) -> Mapping[str, str]:
    return {"teacher": "teacher"} if settings.lambda_ > 0 else {}


def _objective(settings: KDSettings, teachers: Mapping[str, Teacher], words: int) -> Objective:
    from harness.train.losses import kd_loss

    return kd_loss(settings, teachers.get("teacher"), words)


STEP = Step("kd", KDSettings, _objective, _teachers)
