"""Supervised fine-tuning: cross-entropy on the response tokens."""

from collections.abc import Mapping

from harness.train.api import Objective, Step, Teacher
from harness.train.settings import StepSettings


class SFTSettings(StepSettings):
    """Supervised fine-tuning."""


def _objective(settings: SFTSettings, teachers: Mapping[str, Teacher], words: int) -> Objective:
    from harness.train.losses import sft_loss

    return sft_loss


STEP = Step("sft", SFTSettings, _objective)
