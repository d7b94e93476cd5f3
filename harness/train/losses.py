"""What training minimises: sums over response tokens, in nats.

CE   sum of -log p_student(token)
KD   (1 - lambda) CE + lambda T^2 sum of KL(p_teacher || p_student), p = softmax(logits / T)        arXiv 2406.19112

The released code of that paper does not shift the response mask against the logits; here the logits at t are scored
against the token at t + 1. The trainer divides by the number of response tokens of the whole effective batch.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from harness.models.load import output_head
from harness.models.logprobs import kl_divergence, response_positions, token_logprobs

IGNORED = -100
"""The label of a token that is not trained on."""

Batch = Mapping[str, Tensor]
"""`input_ids`, `attention_mask` and `labels`, (B, L) each; labels are the ids at response tokens, else IGNORED."""

Objective = Callable[[Any, Batch], Tensor]
"""(student, batch) -> the loss summed over the batch's response tokens, a scalar."""


def sft_loss(student: Any, batch: Batch) -> Tensor:
    """Cross-entropy summed over response tokens; 0 for a batch without any."""
    rows, columns = response_positions(batch["labels"] != IGNORED)
    hidden = _hidden(student, batch)
    if not len(rows):
        return hidden.sum() * 0.0
    return _cross_entropy(student, hidden[rows, columns], batch["labels"][rows, columns + 1])


def kd_loss(teacher: Any, lambda_: float, temperature: float, words: int) -> Objective:
    """The distillation objective towards `teacher`, a model with the same tokenizer of `words` entries.

    Terms of weight 0 are not computed. When one model's output matrix has rows beyond the tokenizer's (padding), only
    the tokenizer's take part in the divergence.
    """

    def loss(student: Any, batch: Batch) -> Tensor:
        rows, columns = response_positions(batch["labels"] != IGNORED)
        hidden = _hidden(student, batch)
        if not len(rows):
            return hidden.sum() * 0.0
        picked = hidden[rows, columns]
        total = picked.new_zeros((), dtype=torch.float32)
        if lambda_ < 1:
            targets = batch["labels"][rows, columns + 1]
            total = total + (1 - lambda_) * _cross_entropy(student, picked, targets)
        if lambda_ > 0:
            total = total + lambda_ * temperature**2 * _divergence(student, picked, batch, rows, columns)
        return total

    def _divergence(student: Any, picked: Tensor, batch: Batch, rows: Tensor, columns: Tensor) -> Tensor:
        with torch.no_grad():
            taught = _hidden(teacher, batch)[rows, columns]
        mine, theirs = output_head(student), output_head(teacher)
        if len(mine) != len(theirs):
            mine, theirs = mine[:words], theirs[:words]
        return kl_divergence(picked, mine, taught, theirs, temperature).sum()

    return loss


def _hidden(model: Any, batch: Batch) -> Tensor:
    """Last hidden states (B, L, H): the model without its output matrix, so that no logits of all positions exist."""
    outputs = model.base_model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
    hidden: Tensor = outputs.last_hidden_state
    return hidden


def _cross_entropy(student: Any, picked: Tensor, targets: Tensor) -> Tensor:
    return -token_logprobs(picked, output_head(student), targets).sum()
