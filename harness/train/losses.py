"""What training minimises: sums over response tokens, in nats.

CE   sum of -log p_student(token)
KD   (1 - lambda) CE + lambda T^2 sum of KL(p_teacher || p_student), p = softmax(logits / T)        arXiv 2406.19112
DAE  as KD, the teacher of a domain's rows being the domain's expert, of all other rows the reference model

The released code of that paper does not shift the response mask against the logits; here the logits at t are scored
against the token at t + 1. The trainer divides by the number of response tokens of the whole effective batch.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from harness.models.load import output_head
from harness.models.logprobs import DenseTarget, Target, kl_divergence, response_positions, token_logprobs
from harness.train.api import Batch, Loss, Objective, Sum, Teacher
from harness.train.settings import TargetSettings
from harness.train.steps.dae import REFERENCE, DAESettings

IGNORED = -100
"""The label of a token that is not trained on."""


def sft_loss(student: Any, batch: Batch) -> Loss:
    """Cross-entropy summed over response tokens; 0 for a batch without any."""
    return Loss(-response_logprobs(student, batch).sum())


def response_logprobs(student: Any, batch: Batch) -> Tensor:
    """Natural-log probabilities (N,) of the batch's N response tokens, differentiable in the student."""
    return token_logprobs(response_states(student, batch), output_head(student), _response_tokens(batch))


def response_states(model: Any, batch: Batch) -> Tensor:
    """The last hidden states (N, H) that predict the batch's N response tokens.

    The model runs without its output matrix, so that no logits of all positions exist.
    """
    outputs = model.base_model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
    hidden: Tensor = outputs.last_hidden_state
    rows, columns = response_positions(batch["labels"] != IGNORED)
    return hidden[rows, columns]


def kd_loss(teacher: Teacher | None, lambda_: float, temperature: float, words: int) -> Objective:
    """The distillation objective towards `teacher`, a model with the same tokenizer of `words` entries.

    Terms of weight 0 are not computed. When one model's output matrix has rows beyond the tokenizer's (padding), only
    the tokenizer's take part in the divergence.
    """

    def loss(student: Any, batch: Batch) -> Loss:
        states = response_states(student, batch)
        total = states.new_zeros((), dtype=torch.float32)
        if lambda_ < 1:
            total = total - (1 - lambda_) * token_logprobs(states, output_head(student), _response_tokens(batch)).sum()
        if lambda_ > 0:
            total = total + lambda_ * temperature**2 * _divergence(student, states, batch)
        return Loss(total)

    def _divergence(student: Any, states: Tensor, batch: Batch) -> Tensor:
        assert teacher is not None, "a divergence has a teacher"
        taught = teacher.target(batch)
        assert isinstance(taught, DenseTarget)
        mine, theirs = output_head(student), taught.head
        if len(mine) != len(theirs):
            mine, theirs = mine[:words], theirs[:words]
        return kl_divergence(states, mine, taught.hidden, theirs, temperature).sum()

    return loss


def dae_loss(settings: DAESettings, teachers: Mapping[str, Teacher], words: int) -> Objective:
    """Domain alignment from experts: the rows of the k-th domain learn from the k-th teacher after the reference.

    Each teacher runs on its own rows only, the student once over the whole batch. The parts of the loss are, per
    domain, `loss/NAME` in nats (`loss/general` for the reference's rows) and `agreement/NAME`, the tokens at which
    student and teacher have the same likeliest word (`agreement/reference`).
    """
    roles = [REFERENCE, *(role for role in teachers if role != REFERENCE)]

    def loss(student: Any, batch: Batch) -> Loss:
        states, tokens = response_states(student, batch), _response_tokens(batch)
        domains = batch["domain"][response_positions(batch["labels"] != IGNORED)[0]]
        total = states.sum() * 0.0
        parts: dict[str, Sum] = {}
        for number, role in enumerate(roles):
            rows, mine = batch["domain"] == number, domains == number
            count = float(mine.sum())
            added, agreeing = states.sum() * 0.0, 0.0
            if count:
                target = teachers[role].target(sub_batch(batch, rows))
                added, agreeing = _distil(settings, student, states[mine], tokens[mine], target, words)
            total = total + added
            parts[f"loss/{'general' if role == REFERENCE else role}"] = (float(added.detach()), count)
            parts[f"agreement/{role}"] = (agreeing, count)
        return Loss(total, parts)

    return loss


def _distil(
    settings: TargetSettings, student: Any, states: Tensor, tokens: Tensor, target: Target, words: int
) -> tuple[Tensor, float]:
    assert isinstance(target, DenseTarget)
    mine, theirs = output_head(student), target.head
    if len(mine) != len(theirs):
        mine, theirs = mine[:words], theirs[:words]
    total = states.new_zeros((), dtype=torch.float32)
    if settings.lambda_ < 1:
        total = total - (1 - settings.lambda_) * token_logprobs(states, output_head(student), tokens).sum()
    divergence = kl_divergence(states, mine, target.hidden, theirs, settings.temperature).sum()
    with torch.no_grad():
        agreeing = sum(
            float(((a @ mine.T).argmax(-1) == (b @ theirs.T).argmax(-1)).sum())
            for a, b in zip(states.split(512), target.hidden.split(512), strict=True)
        )
    return total + settings.lambda_ * settings.temperature**2 * divergence, agreeing


def sub_batch(batch: Batch, rows: Tensor) -> Batch:
    """The rows of a batch where `rows` (B,) is true, without the columns that are padding at the end of all of them."""
    picked = {name: values[rows] for name, values in batch.items()}
    length = int(picked["attention_mask"].any(dim=0).nonzero().max()) + 1
    return {name: values[:, :length] if values.dim() == 2 else values for name, values in picked.items()}


def live_teacher(model: Any) -> Teacher:
    """A teacher that runs beside the student."""

    def target(batch: Batch) -> DenseTarget:
        with torch.no_grad():
            return DenseTarget(response_states(model, batch), output_head(model))

    return Teacher(target, model)


def _response_tokens(batch: Batch) -> Tensor:
    rows, columns = response_positions(batch["labels"] != IGNORED)
    return batch["labels"][rows, columns + 1]
