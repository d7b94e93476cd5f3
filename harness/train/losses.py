"""What training minimises: sums over response tokens, in nats.

CE   sum of -log p_student(token)
KD   (1 - lambda) CE + lambda (w_pred T^2 sum of D(p_teacher, p_student) + w_attn L_attn), p = softmax(logits / T)
DAE  (1 - lambda) CE + lambda T^2 sum of D(p_teacher, p_student), each row's teacher being that of its domain: the
     domain's expert, or the reference model

D is KL(p_teacher || p_student) in the paper, arXiv 2406.19112; `models.divergences` has others, `train.attention` has
L_attn. The paper's released code does not shift the response mask against the logits, and runs every teacher over every
row; here the logits at t are scored against the token at t + 1, by one teacher. The trainer divides by the number of
response tokens of the whole effective batch.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from harness.core.errors import HarnessError
from harness.models.divergences import Divergence
from harness.models.load import output_head
from harness.models.logprobs import DenseTarget, response_positions, token_logprobs
from harness.models.token_losses import Guide, Terms, TokenLosses, token_losses
from harness.train.api import Batch, Loss, Objective, Sum, Teacher
from harness.train.attention import (
    Attention,
    attention_loss,
    heads_differ,
    layer_pairs,
    layers_of,
    recorded_attention,
)
from harness.train.settings import TargetSettings
from harness.train.steps.dae import REFERENCE, DAESettings
from harness.train.steps.kd import KDSettings

IGNORED = -100
"""The label of a token that is not trained on."""


def sft_loss(student: Any, batch: Batch) -> Loss:
    """Cross-entropy summed over response tokens; 0 for a batch without any."""
    return Loss(_token_losses(student, batch, [(_all(response_tokens(batch)), None)], Terms(1.0)).total)


def kd_loss(settings: KDSettings, teacher: Teacher | None, words: int) -> Objective:
    """Distillation from `teacher`, a model with the student's tokenizer of `words` entries; None where lambda is 0.

    Parts: `agreement/teacher`, the tokens at which the student's likeliest word is the teacher's; with attention maps
    `loss/attention` in nats, `loss/attention_of_mean_heads` where the maps had to be averaged over heads.
    """
    terms = _terms(settings, words, settings.w_pred)
    with_maps = settings.lambda_ * settings.w_attn

    def loss(student: Any, batch: Batch) -> Loss:
        tokens = response_tokens(batch)
        if teacher is None:
            return Loss(_token_losses(student, batch, [(_all(tokens), None)], terms).total)
        with _recorded(teacher.model, with_maps) as theirs:
            target = teacher.target(batch)
        with _recorded(student, with_maps) as mine:
            found = _token_losses(student, batch, [(_all(tokens), target)], terms)
        total, parts = found.total, {"agreement/teacher": (float(found.agrees.sum()), float(len(tokens)))}
        if with_maps:
            pairs = layer_pairs(settings.attention_layers, layers_of(student), layers_of(teacher.model))
            maps = attention_loss(mine, theirs, pairs, batch["labels"] != IGNORED)
            total = total + with_maps * maps
            name = "attention_of_mean_heads" if heads_differ(mine, theirs) else "attention"
            parts[f"loss/{name}"] = (float(maps.detach()), float(len(tokens)))
        return Loss(total, parts)

    return loss


def dae_loss(settings: DAESettings, teachers: Mapping[str, Teacher], words: int) -> Objective:
    """Domain alignment from experts: rows of the k-th domain learn from the k-th of `teachers` without the reference.

    Each teacher runs on its own rows only, the student once over the whole batch. Parts, by domain: `loss/NAME` in
    nats (`loss/general` on the reference's rows), and `agreement/NAME` (`agreement/reference`), the tokens at which the
    student's likeliest word is its teacher's.
    """
    terms = _terms(settings, words)
    roles = [REFERENCE, *(role for role in teachers if role != REFERENCE)]

    def loss(student: Any, batch: Batch) -> Loss:
        domains = batch["domain"]
        if int(domains.max()) >= len(roles):
            raise HarnessError(f"a row of domain {int(domains.max())}, and {len(roles) - 1} experts")
        of_tokens = domains[response_positions(batch["labels"] != IGNORED)[0]]
        places = [(of_tokens == number).nonzero().squeeze(-1) for number in range(len(roles))]
        guides: list[Guide] = []
        for number, (role, at) in enumerate(zip(roles, places, strict=True)):
            if len(at):
                guides.append(
                    (at, teachers[role].target(sub_batch(batch, domains == number)) if terms.weight else None)
                )
        found = _token_losses(student, batch, guides, terms)
        parts: dict[str, Sum] = {}
        for role, at in zip(roles, places, strict=True):
            parts[f"loss/{'general' if role == REFERENCE else role}"] = (_sum(found, at, terms), float(len(at)))
            parts[f"agreement/{role}"] = (float(found.agrees[at].sum()), float(len(at)))
        return Loss(found.total, parts)

    return loss


def response_logprobs(student: Any, batch: Batch) -> Tensor:
    """Natural-log probabilities (N,) of the batch's N response tokens, differentiable in the student."""
    return token_logprobs(response_states(student, batch), output_head(student), response_tokens(batch))


def response_states(model: Any, batch: Batch) -> Tensor:
    """The last hidden states (N, H) that predict the batch's N response tokens.

    The model runs without its output matrix, so that no logits of all positions exist.
    """
    outputs = model.base_model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
    hidden: Tensor = outputs.last_hidden_state
    rows, columns = response_positions(batch["labels"] != IGNORED)
    return hidden[rows, columns]


def response_tokens(batch: Batch) -> Tensor:
    """The ids (N,) of the batch's N response tokens."""
    rows, columns = response_positions(batch["labels"] != IGNORED)
    return batch["labels"][rows, columns + 1]


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


def _terms(settings: TargetSettings, words: int, w_pred: float = 1.0) -> Terms:
    divergence = Divergence(settings.divergence, settings.temperature, settings.beta)
    return Terms(1 - settings.lambda_, settings.lambda_ * w_pred * settings.temperature**2, divergence, words)


def _all(tokens: Tensor) -> Tensor:
    return torch.arange(len(tokens), device=tokens.device)


def _recorded(model: Any, weight: float) -> AbstractContextManager[Mapping[int, Attention]]:
    return recorded_attention(model) if weight else nullcontext({})


def _token_losses(student: Any, batch: Batch, guides: Sequence[Guide], terms: Terms) -> TokenLosses:
    return token_losses(response_states(student, batch), output_head(student), response_tokens(batch), guides, terms)


def _sum(found: TokenLosses, at: Tensor, terms: Terms) -> float:
    return float(terms.ce_weight * found.cross_entropy[at].sum() + terms.weight * found.divergence[at].sum())
