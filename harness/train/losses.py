"""Tools that the losses of `train/steps` share: the predictions of a student and its teachers at response tokens.

Every loss is a sum over response tokens, in nats; the trainer divides by their number in the whole effective batch. The
logits at t are scored against the token at t + 1.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from harness.core.errors import HarnessError
from harness.models.divergences import Divergence
from harness.models.load import output_head
from harness.models.logprobs import DenseTarget, Target, response_positions, token_logprobs
from harness.models.shares import is_shared
from harness.models.token_losses import TeacherTarget, Terms, TokenLosses, token_losses
from harness.train.api import Batch, Teacher
from harness.train.settings import TargetSettings

IGNORED = -100
"""The label of a token that is not trained on."""


def batch_losses(student: Any, batch: Batch, targets: Sequence[TeacherTarget], terms: Terms) -> TokenLosses:
    """The student's losses at the batch's N response tokens; each of `targets` is a teacher's for some of them."""
    return token_losses(response_states(student, batch), output_head(student), response_tokens(batch), targets, terms)


def distillation_terms(settings: TargetSettings, vocab_size: int, w_pred: float = 1.0) -> Terms:
    """(1 - lambda) CE + lambda w_pred T^2 D(p_teacher, p_student), with p = softmax(logits / T)."""
    divergence = Divergence(settings.divergence, settings.temperature, settings.beta)
    return Terms(1 - settings.lambda_, settings.lambda_ * w_pred * settings.temperature**2, divergence, vocab_size)


def routed_losses(
    student: Any, batch: Batch, teachers: Mapping[str, Teacher], number: Tensor, terms: Terms
) -> tuple[TokenLosses, dict[str, Tensor]]:
    """The student's losses where each row learns from a teacher: `number` (B,) is its place in `teachers`.

    A teacher runs on its rows only, the student once over the whole batch. Also returns where among the batch's N
    response tokens each teacher's stand, by role.
    """
    if int(number.max()) >= len(teachers):
        raise HarnessError(f"a row of domain {int(number.max())}, and {len(teachers) - 1} experts")
    of_tokens = number[response_positions(batch["labels"] != IGNORED)[0]]
    positions = {role: (of_tokens == place).nonzero().squeeze(-1) for place, role in enumerate(teachers)}
    targets: list[TeacherTarget] = []
    for place, (role, at) in enumerate(positions.items()):
        if len(at) or (terms.kd_weight and teachers[role].together):
            # Other processes may have rows of this teacher: if it is in shares, it then runs here on any row.
            rows = number == place if len(at) else torch.arange(len(number), device=number.device) == 0
            targets.append((at, teachers[role].target(sub_batch(batch, rows)) if terms.kd_weight else None))
    return batch_losses(student, batch, targets, terms), positions


def everywhere(batch: Batch, target: Target | None) -> list[TeacherTarget]:
    """A teacher's prediction for all of the batch's response tokens; None: cross-entropy alone."""
    tokens = response_tokens(batch)
    return [(torch.arange(len(tokens), device=tokens.device), target)]


def response_logprobs(student: Any, batch: Batch) -> Tensor:
    """Natural-log probabilities (N,) of the batch's N response tokens, differentiable in the student."""
    return token_logprobs(response_states(student, batch), output_head(student), response_tokens(batch))


def response_states(model: Any, batch: Batch) -> Tensor:
    """The last hidden states (N, H) that predict the batch's N response tokens.

    The model runs without its output matrix, so that the logits of all positions never exist at once.
    """
    outputs = model.base_model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
    hidden: Tensor = outputs.last_hidden_state
    rows, columns = response_positions(batch["labels"] != IGNORED)
    return hidden[rows.to(hidden.device), columns.to(hidden.device)]


def response_tokens(batch: Batch) -> Tensor:
    """The ids (N,) of the batch's N response tokens."""
    rows, columns = response_positions(batch["labels"] != IGNORED)
    return batch["labels"][rows, columns + 1]


def sub_batch(batch: Batch, rows: Tensor) -> Batch:
    """The rows of a batch where `rows` (B,) is true, without the columns that are padding in all of these rows."""
    picked = {name: values[rows] for name, values in batch.items()}
    length = int(picked["attention_mask"].any(dim=0).nonzero().max()) + 1
    return {name: values[:, :length] if values.dim() == 2 else values for name, values in picked.items()}


def live_teacher(model: Any) -> Teacher:
    """A teacher whose model runs beside the student."""
    states: Callable[[Batch], Tensor] = partial(response_states, model)
    if shared := is_shared(model):
        # Weights are gathered around the whole model's `forward`.
        model.forward, states = states, model

    def target(batch: Batch) -> DenseTarget:
        with torch.no_grad():
            return DenseTarget(states(batch), output_head(model))

    return Teacher(target, model, together=shared)
