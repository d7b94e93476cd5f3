"""Supervised fine-tuning: cross-entropy on the response tokens."""

from typing import Any

from harness.train.api import Batch, Loss, Step
from harness.train.settings import StepSettings


class SFTSettings(StepSettings):
    """Supervised fine-tuning."""


def sft_loss(student: Any, batch: Batch) -> Loss:
    """-log p_student(token) summed over response tokens; 0 for a batch without any."""
    from harness.models.token_losses import Terms
    from harness.train.losses import batch_losses, everywhere

    return Loss(batch_losses(student, batch, everywhere(batch, None), Terms(ce_weight=1.0)).total)


STEP = Step("sft", SFTSettings, lambda settings, teachers, vocab_size: sft_loss)
