"""What a training step is: settings, and what they make of a student, a batch and (if need be) its teachers.

A step is one module in `train/steps`, or a plug-in, that exports `STEP`; its name is its key in a recipe's `train`. Its
settings are torch-free: torch is imported inside `objective`, in the process that trains.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.core.discover import discover
from harness.train.settings import StepData

if TYPE_CHECKING:
    from torch import Tensor

    from harness.models.logprobs import Target

Batch = Mapping[str, "Tensor"]
"""`input_ids`, `attention_mask` and `labels`, (B, L) each; labels are the ids at response tokens, else IGNORED.

`row` (B,) is each conversation's number in the step's dataset; `domain` (B,) is 0 for a general conversation and k for
one of the step's k-th domain (`Examples.domains`, in the order of the recipe).
"""

Sum = tuple[float, float]
"""A sum and what it is a sum over: the curve of a step shows their quotient over the effective batch."""


@dataclass(frozen=True)
class Loss:
    """What one micro-batch adds."""

    total: "Tensor"
    """The loss summed over the batch's response tokens, a scalar in nats; the trainer divides by their number."""
    parts: Mapping[str, Sum] = field(default_factory=dict)
    """What else is worth a curve, e.g. `loss/general`: (sum in nats, response tokens)."""


Objective = Callable[[Any, Batch], Loss]
"""(student, batch) -> its loss."""


@dataclass(frozen=True)
class Teacher:
    """A teacher of a running step, by its role."""

    target: "Callable[[Batch], Target]"
    """What it predicts at the batch's N response positions (`models.logprobs.response_positions` of `labels`), without
    gradient: from the model, or as it was stored in an earlier pass (`targets: cached`)."""
    model: Any = None
    """The model, frozen and on the student's device; None where its targets are stored."""


def _no_teachers(settings: Any) -> Mapping[str, str]:
    return {}


def _always(role: str, domain: str | None) -> bool:
    return True


@dataclass(frozen=True)
class Step:
    """A way to train."""

    name: str
    settings: type[StepData]
    objective: Callable[[Any, Mapping[str, Teacher], int], Objective] | None
    """(settings, teachers by role, vocab_size) -> what is minimised; None for a program of its own."""
    teachers: Callable[[Any], Mapping[str, str]] = _no_teachers
    """With these settings: role -> whose logits it needs: `teacher` (the recipe's), `student` (the model the step
    starts from), or a model reference. Each has the student's vocabulary; that is checked before weights are loaded."""
    asks: Callable[[str, str | None], bool] = _always
    """(role, domain) -> whether the loss asks that teacher about conversations of that domain (None: general ones).
    Targets are stored for these alone."""
    domain_keys: tuple[str, str] | None = None
    """Where the settings have something for each domain of a mix: the key for `data.domain` (None where it is not
    given), and the key of the mapping by name for `data.domains`. A recipe is checked to name every domain there."""


def steps() -> Mapping[str, Step]:
    """Every training step by name."""
    return discover("harness.train.steps", "STEP", Step)
