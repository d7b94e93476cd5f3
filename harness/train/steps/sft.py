"""Supervised fine-tuning: cross-entropy on the response tokens."""

from typing import Any

from harness.train.api import Objective, Step
from harness.train.settings import StepSettings


class SFTSettings(StepSettings):
    """Supervised fine-tuning."""


def _objective(settings: SFTSettings, teacher: Any, words: int) -> Objective:
    from harness.train.losses import sft_loss

    return sft_loss


STEP = Step("sft", SFTSettings, _objective)
