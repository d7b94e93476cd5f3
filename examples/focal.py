"""A loss of your own as a plug-in; examples/own_loss.py runs it.

The focal loss (arXiv 1708.02002): tokens that the student knows already count less.
"""

from typing import Any

from harness.train.api import Batch, Loss, Objective, Step
from harness.train.settings import StepSettings


class FocalSettings(StepSettings):
    """Focal loss."""

    gamma: float = 2.0
    """How much less a token counts the better the student knows it; 0 is plain cross-entropy."""


def _objective(settings: FocalSettings, teachers: Any, vocab_size: int) -> Objective:
    from harness.train.losses import response_logprobs

    def loss(student: Any, batch: Batch) -> Loss:
        logprobs = response_logprobs(student, batch)
        return Loss(-((1 - logprobs.exp()) ** settings.gamma * logprobs).sum())

    return loss


STEP = Step("focal", FocalSettings, _objective)
