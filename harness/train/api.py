"""What a training step is: settings, and what they make of a student, a batch and (if need be) a teacher's logits.

A step is one module in `train/steps` that exports `STEP`; its name is its key in a recipe's `train`. Its settings are
torch-free: torch is imported inside `objective`, in the process that trains.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.core.discover import discover
from harness.train.settings import StepSettings

if TYPE_CHECKING:
    from torch import Tensor

Batch = Mapping[str, "Tensor"]
"""`input_ids`, `attention_mask` and `labels`, (B, L) each; labels are the ids at response tokens, else IGNORED."""

Objective = Callable[[Any, Batch], "Tensor"]
"""(student, batch) -> the loss summed over the batch's response tokens, a scalar in nats."""


def _never(settings: Any) -> bool:
    return False


@dataclass(frozen=True)
class Step:
    """A way to train."""

    name: str
    settings: type[StepSettings]
    objective: Callable[[Any, Any, int], Objective]
    """(settings, teacher model or None, entries of the tokenizer) -> what is minimised."""
    needs_teacher: Callable[[Any], bool] = _never
    """Whether, with these settings, it needs the logits of a teacher with the student's vocabulary."""


def steps() -> Mapping[str, Step]:
    """Every training step by name."""
    return discover("harness.train.steps", "STEP")
