"""What training minimises: sums over response tokens, in nats.

CE   sum of -log p_student(token)
KD   (1 - lambda) CE + lambda T^2 sum of D(p_teacher, p_student), p = softmax(logits / T)           arXiv 2406.19112
DAE  as KD, the teacher of a domain's rows being the domain's expert, of all other rows the reference model

D is KL(p_teacher || p_student) in the paper; `models.divergences` has others. The paper's released code does not shift
the response mask against the logits, and runs every teacher over every row; here the logits at t are scored against
the token at t + 1, by one teacher. The trainer divides by the number of response tokens of the whole effective batch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.core.errors import HarnessError
from harness.models.divergences import Divergence
from harness.models.load import output_head
from harness.models.logprobs import DenseTarget, response_positions, token_logprobs
from harness.models.token_losses import Guide, Terms, TokenLosses, token_losses
from harness.train.api import Batch, Loss, Objective, Sum, Teacher
from harness.train.settings import TargetSettings
from harness.train.steps.dae import REFERENCE, DAESettings
from harness.train.steps.kd import KDSettings

IGNORED = -100
"""The label of a token that is not trained on."""


def sft_loss(student: Any, batch: Batch) -> Loss:
    """Cross-entropy summed over response tokens; 0 for a batch without any."""
    tokens = response_tokens(batch)
    everywhere = torch.arange(len(tokens), device=tokens.device)
    return Loss(_token_losses(student, batch, [(everywhere, None)], Terms(1.0)).total)


def kd_loss(settings: KDSettings, teacher: Teacher | None, words: int) -> Objective:
    """Distillation from `teacher`, a model with the student's tokenizer of `words` entries; None where lambda is 0.

    The part `agreement/teacher` counts the tokens at which the student's likeliest word is the teacher's.
    """
    terms = _terms(settings, words)

    def loss(student: Any, batch: Batch) -> Loss:
        tokens = response_tokens(batch)
        everywhere = torch.arange(len(tokens), device=tokens.device)
        target = None if teacher is None else teacher.target(batch)
        found = _token_losses(student, batch, [(everywhere, target)], terms)
        parts = {} if teacher is None else {"agreement/teacher": (float(found.agrees.sum()), float(len(tokens)))}
        return Loss(found.total, parts)

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


def _terms(settings: TargetSettings, words: int) -> Terms:
    divergence = Divergence(settings.divergence, settings.temperature, settings.beta)
    return Terms(1 - settings.lambda_, settings.lambda_ * settings.temperature**2, divergence, words)


def _token_losses(student: Any, batch: Batch, guides: Sequence[Guide], terms: Terms) -> TokenLosses:
    return token_losses(response_states(student, batch), output_head(student), response_tokens(batch), guides, terms)


def _sum(found: TokenLosses, at: Tensor, terms: Terms) -> float:
    return float(terms.ce_weight * found.cross_entropy[at].sum() + terms.weight * found.divergence[at].sum())
