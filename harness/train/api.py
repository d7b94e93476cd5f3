"""A training step: settings, and the objective that they make for a student, its batches and (if any) its teachers.

A step is a module in `train/steps`, or a plug-in, that exports `STEP`; its name is its key in a recipe's `train`. Its
settings import no torch: `objective` does so, in the process that trains.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.core.discover import discover
from harness.train.settings import Sampling, StepData

if TYPE_CHECKING:
    from torch import Tensor

    from harness.models.logprobs import Target

Batch = Mapping[str, "Tensor"]
"""`input_ids`, `attention_mask` and `labels`, (B, L) each; labels are the ids at response tokens, else IGNORED.

`row` (B,) is each conversation's number in the step's dataset; `domain` (B,) is 0 for a general conversation and k for
a conversation of the k-th domain (`Examples.domains`, in the order of the recipe); `sampled` (B,) is true where the
student wrote the response (`Step.sampling`).
"""

Sum = tuple[float, float]
"""A sum and its number of terms: the curve shows the sum by the number, both over the effective batch."""


@dataclass(frozen=True)
class Loss:
    """The loss of a micro-batch."""

    total: "Tensor"
    """The sum over the batch's response tokens, a scalar in nats; the trainer divides by their number."""
    parts: Mapping[str, Sum] = field(default_factory=dict)
    """Further curves, e.g. `loss/general`: (sum in nats, response tokens)."""


Objective = Callable[[Any, Batch], Loss]
"""(student, batch) -> its loss."""


@dataclass(frozen=True)
class Teacher:
    """A teacher of a running step."""

    target: "Callable[[Batch], Target]"
    """Its predictions at the batch's N response positions (`models.logprobs.response_positions` of `labels`), without
    gradient: computed by the model, or stored in an earlier pass (`targets: cached`)."""
    model: Any = None
    """The model, frozen and on the student's device; None where its targets are stored."""
    together: bool = False
    """Processes hold shares of the model, so that `target` is called in all of them or in none."""


@dataclass(frozen=True)
class Step:
    """A way to train."""

    name: str
    settings: type[StepData]
    objective: Callable[[Any, Mapping[str, Teacher], int], Objective] | None
    """(settings, teachers by role, vocab_size) -> the objective that is minimised; None where a command trains."""
    teachers: Callable[[Any], Mapping[str, str]] = lambda settings: {}
    """settings -> {role: model}: the models whose logits the loss needs, each `teacher` (the recipe's), `student` (the
    model the step starts from) or a model reference. They must have the student's vocabulary, which is checked before
    weights are loaded."""
    asks: Callable[[str, str | None], bool] = lambda role, domain: True
    """(role, domain) -> whether the loss needs that teacher on conversations of that domain (None: general). Targets
    are stored only where it does."""
    domain_keys: tuple[str, str] | None = None
    """Keys of the settings that hold a value for each domain of a mix: the key for `data.domain` (None where it is not
    given), and the key of the mapping by name for `data.domains`. A recipe must name every domain there."""
    sampling: Callable[[Any], Sampling | None] = lambda settings: None
    """settings -> how the student answers prompts of the data itself; None: it learns from the data's responses."""


def steps() -> Mapping[str, Step]:
    """Every training step by name."""
    return discover("harness.train.steps", "STEP", Step)
