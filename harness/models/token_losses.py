"""The kernel of training: cross-entropy and divergence from a teacher, a chunk of positions at a time.

Logits of N positions over a vocabulary of V take N x V numbers, and autograd would keep several tensors of that size.
Here the forward pass computes each chunk's logits once, replaces them by the loss's gradient with respect to them, and
adds this to the gradients of hidden states and output matrix. The loss is a scalar, so the backward pass only scales
these. No tensor is larger than chunk x V.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from harness.models.divergences import FORWARD_KL, Divergence, divergence_of, top_divergence
from harness.models.logprobs import CHUNK, ROWS, DenseTarget, Head, Target, TopTarget, capped
from harness.models.shares import whole

TeacherTarget = tuple[Tensor, Target | None]
"""Positions (n,) among the N, and a teacher's predictions there; None: no divergence."""


@dataclass(frozen=True)
class Terms:
    """The sum over positions: ce_weight x cross-entropy + kd_weight x divergence; a weight of 0 leaves a term out."""

    ce_weight: float
    kd_weight: float = 0.0
    divergence: Divergence = FORWARD_KL
    vocab_size: int | None = None
    """How many first rows of the output matrices take part in a divergence if the teacher's and the student's differ
    in their numbers of rows (padding), or if the predictions were stored; None: all."""


@dataclass(frozen=True)
class TokenLosses:
    """A loss over N positions: the sum to minimise and, without gradient, its terms."""

    total: Tensor
    """Scalar in nats, differentiable once in hidden states and output matrix."""
    cross_entropy: Tensor
    """(N,) in nats, without its weight."""
    divergence: Tensor
    """(N,) in nats, without its weight."""
    agrees: Tensor
    """(N,) bool: teacher and student have the same likeliest token (false where there is no divergence)."""
    teacher_logprobs: Tensor
    """(N,) natural logs of the teacher's probability of the next token, at the divergence's temperature; NaN where
    there is no divergence, and of a stored target, which need not hold that token."""

    def weighted(self, positions: Tensor, terms: Terms) -> float:
        """The loss in nats at some positions (n,), summed, without gradient."""
        cross_entropy, divergence = self.cross_entropy[positions].sum(), self.divergence[positions].sum()
        return float(terms.ce_weight * cross_entropy + terms.kd_weight * divergence)


def token_losses(
    hidden: Tensor, head: Head, labels: Tensor, targets: Sequence[TeacherTarget], terms: Terms, chunk: int = CHUNK
) -> TokenLosses:
    """The student's loss at N positions: hidden states (N, H), what makes logits of them, next tokens `labels` (N,).

    Positions that no target names add nothing. Under autocast, matrix products are in its type, all else in float32.
    """
    needs = (hidden.requires_grad, head.weight.requires_grad) if torch.is_grad_enabled() else (False, False)
    return TokenLosses(*_Fused.apply(hidden, head.weight, head.cap, labels, targets, terms, chunk, needs))


class _Fused(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, cap: float | None, *given: Any) -> Any:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        with torch.autocast(device, enabled=False):
            values, ctx.gradients = _sums(hidden, Head(weight, cap), dtype, *given)
        ctx.mark_non_differentiable(*values[1:])
        return values

    @staticmethod
    def backward(ctx: Any, scale: Tensor, *_: Any) -> Any:
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError("the gradients of token_losses were used up by an earlier backward pass")
        return *(None if g is None else g.mul_(scale) for g in gradients), None, None, None, None, None, None


def _sums(
    hidden: Tensor,
    head: Head,
    dtype: torch.dtype,
    labels: Tensor,
    targets: Sequence[TeacherTarget],
    terms: Terms,
    chunk: int,
    needs: tuple[bool, bool],
) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, Tensor | None]]:
    """The fields of TokenLosses; the gradients of `hidden` and the head's weight, each if it is needed."""
    exact = torch.promote_types(dtype, torch.float32)
    values = tuple(torch.zeros(len(hidden), dtype=kind, device=hidden.device) for kind in (exact, exact, torch.bool))
    values = (*values, torch.full_like(values[0], torch.nan))
    leaves = zip((hidden, head.weight), needs, strict=True)
    of_hidden, of_head = (torch.zeros_like(leaf) if need else None for leaf, need in leaves)
    matrix = head.weight.to(dtype)
    step = ROWS if hidden.device.type == "cpu" else chunk
    for positions, target in targets:
        teacher = _cast(target, dtype)
        for start in range(0, len(positions), chunk):
            at = positions[start : start + chunk]
            states = hidden[at].to(dtype)
            logits, prediction = states @ matrix.T, _predict(teacher, slice(start, start + chunk))
            for rows in (slice(i, i + step) for i in range(0, len(at), step)):
                taught = None if prediction is None else prediction[rows]
                *losses, gradient = _rows(logits[rows].to(exact), head.cap, taught, labels[at[rows]], terms)
                for value, new in zip(values, losses, strict=True):
                    value[at[rows]] = new
                logits[rows] = gradient
            if of_hidden is not None:
                of_hidden[at] = (logits @ matrix).to(hidden.dtype)
            if of_head is not None:
                of_head += logits.T @ states
    total = terms.ce_weight * values[0].sum() + terms.kd_weight * values[1].sum()
    return (total, *values), (of_hidden, of_head)


Prediction: TypeAlias = TopTarget | Tensor
"""A teacher's predictions at n positions: stored tokens, or logits (n, Vt)."""


@dataclass(frozen=True)
class _Products:
    """A live teacher's predictions at a chunk of positions, of which a few rows at a time become logits."""

    products: Tensor
    cap: float | None

    def __getitem__(self, rows: slice) -> Tensor:
        products = self.products[rows]
        return capped(products.to(torch.promote_types(products.dtype, torch.float32)), self.cap)


def _cast(target: Target | None, dtype: torch.dtype) -> Target | None:
    """A live teacher with its output matrix gathered, and cast to the type of the products, once for all chunks."""
    if not isinstance(target, DenseTarget):
        return target
    return replace(target, head=replace(target.head, weight=whole(target.head.weight).to(dtype)))


def _predict(target: Target | None, positions: slice) -> TopTarget | _Products | None:
    """The teacher's predictions at a chunk of the target's positions."""
    if isinstance(target, DenseTarget):
        weight = target.head.weight
        return _Products(target.hidden[positions].to(weight.dtype) @ weight.T, target.head.cap)
    return None if target is None else target[positions]


def _rows(
    products: Tensor, cap: float | None, teacher: Prediction | None, labels: Tensor, terms: Terms
) -> tuple[Tensor, ...]:
    """The fields of TokenLosses (n,) but its total, and the loss's gradient (n, V) with respect to the products.

    `products` are the student's logits before their `cap`; they are overwritten.
    """
    student_logits = capped(products, cap)
    slope = None if cap is None else 1 - (student_logits / cap).square_()
    cross_entropy, divergence = student_logits.new_zeros(2, len(student_logits))
    teacher_logprobs = torch.full_like(divergence, torch.nan)
    agrees = torch.zeros_like(labels, dtype=torch.bool)
    gradient = torch.zeros((), dtype=student_logits.dtype, device=student_logits.device)
    if terms.ce_weight:
        log_q = student_logits.log_softmax(-1)
        cross_entropy = -log_q.gather(-1, labels[:, None]).squeeze(-1)
        gradient = log_q.exp_()
        gradient[torch.arange(len(labels), device=labels.device), labels] -= 1
        gradient *= terms.ce_weight
    if terms.kd_weight and teacher is not None:
        divergence, agrees, teacher_logprobs, pull = _diverge(student_logits, teacher, labels, terms)
        pull *= terms.kd_weight / terms.divergence.temperature
        if pull.shape != student_logits.shape:
            pull = torch.nn.functional.pad(pull, (0, student_logits.shape[1] - pull.shape[1]))
        gradient = pull if gradient.ndim == 0 else gradient.add_(pull)
    return cross_entropy, divergence, agrees, teacher_logprobs, gradient if slope is None else gradient * slope


def _diverge(student_logits: Tensor, teacher: Prediction, labels: Tensor, terms: Terms) -> tuple[Tensor, ...]:
    """Divergences, agreements, the teacher's log-probabilities of `labels` (n,); the gradients (n, W) with respect to
    logits / temperature."""
    temperature = terms.divergence.temperature
    if isinstance(teacher, TopTarget):
        student_logits = student_logits[:, : terms.vocab_size]
        likeliest = teacher.ids.gather(-1, teacher.logprobs.argmax(-1, keepdim=True))
    else:
        shared = None if teacher.shape[1] == student_logits.shape[1] else terms.vocab_size
        student_logits, teacher_logits = student_logits[:, :shared], teacher[:, :shared]
        likeliest = teacher_logits.argmax(-1, keepdim=True)
    agrees = student_logits.gather(-1, likeliest).squeeze(-1) == student_logits.amax(-1)
    if isinstance(teacher, TopTarget):
        value, gradient = top_divergence(terms.divergence, student_logits / temperature, teacher)
        return value, agrees, torch.full_like(value, torch.nan), gradient
    log_q, log_p = ((x / temperature).log_softmax(-1) for x in (student_logits, teacher_logits))
    taught = log_p.gather(-1, labels[:, None]).squeeze(-1)  # ahead of the divergence, which overwrites both
    value, gradient = divergence_of(terms.divergence, log_q, log_p)
    return value, agrees, taught, gradient
