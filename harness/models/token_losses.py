"""The kernel of training: cross-entropy and divergence from a teacher, a chunk of positions at a time.

Logits of N positions over V words take N x V numbers, and autograd would keep several tensors of that size. Here the
forward pass computes each chunk's logits once and turns them, in place, into the loss's gradient with respect to them,
and that into the gradients of hidden states and output matrix: the loss is a scalar, so that the backward pass only
scales these. Nothing larger than chunk x V exists.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from harness.models.divergences import FORWARD_KL, Divergence, divergence_of, top_divergence
from harness.models.logprobs import CHUNK, DenseTarget, Target, TopTarget

ROWS = 64
"""Positions whose logits are worked on at once: few enough for a CPU's caches to hold them from pass to pass."""

Guide = tuple[Tensor, Target | None]
"""Positions (n,) among the N, and what a teacher predicts at these; None: no divergence."""


@dataclass(frozen=True)
class Terms:
    """What is summed over positions: ce_weight x cross-entropy + weight x divergence; weight 0 leaves a term out."""

    ce_weight: float
    weight: float = 0.0
    divergence: Divergence = FORWARD_KL
    words: int | None = None
    """Rows of the output matrices that take part in a divergence where the teacher's has another number of rows than
    the student's (padding), or where its predictions were stored; None: all."""


@dataclass(frozen=True)
class TokenLosses:
    """A loss over N positions: the sum to minimise and, without gradient, what it is made of."""

    total: Tensor
    """Scalar in nats, differentiable once in hidden states and output matrix."""
    cross_entropy: Tensor
    """(N,) in nats, without its weight."""
    divergence: Tensor
    """(N,) in nats, without its weight."""
    agrees: Tensor
    """(N,) bool: the teacher's likeliest word is the student's too (false where there is no divergence)."""


def token_losses(
    hidden: Tensor, head: Tensor, tokens: Tensor, guides: Sequence[Guide], terms: Terms, chunk: int = CHUNK
) -> TokenLosses:
    """The student's loss at N positions: hidden states (N, H), output matrix (V, H), next tokens (N,).

    Positions that no guide names add nothing. Under autocast, products are in its type; all else is in float32.
    """
    wanted = (hidden.requires_grad, head.requires_grad) if torch.is_grad_enabled() else (False, False)
    return TokenLosses(*_Fused.apply(hidden, head, tokens, guides, terms, chunk, wanted))


class _Fused(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, *given: Any) -> Any:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        with torch.autocast(device, enabled=False):
            values, ctx.gradients = _sums(hidden, head, dtype, *given)
        ctx.mark_non_differentiable(*values[1:])
        return values

    @staticmethod
    def backward(ctx: Any, scale: Tensor, *_: Any) -> Any:
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError("the gradients of token_losses were used up by an earlier backward pass")
        return *(None if g is None else g.mul_(scale) for g in gradients), None, None, None, None, None


def _sums(
    hidden: Tensor,
    head: Tensor,
    dtype: torch.dtype,
    tokens: Tensor,
    guides: Sequence[Guide],
    terms: Terms,
    chunk: int,
    wanted: tuple[bool, bool],
) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, Tensor | None]]:
    """The fields of TokenLosses; the gradients of `hidden` and `head` where they are wanted."""
    exact = torch.promote_types(dtype, torch.float32)
    values = tuple(torch.zeros(len(hidden), dtype=kind, device=hidden.device) for kind in (exact, exact, torch.bool))
    of_hidden, of_head = (torch.zeros_like(x) if want else None for x, want in zip((hidden, head), wanted, strict=True))
    matrix = head.to(dtype)
    step = ROWS if hidden.device.type == "cpu" else chunk
    for positions, target in guides:
        teacher = _prediction(target, dtype)
        for start in range(0, len(positions), chunk):
            at = positions[start : start + chunk]
            states = hidden[at].to(dtype)
            logits, taught = states @ matrix.T, teacher(slice(start, start + chunk))
            for rows in (slice(i, i + step) for i in range(0, len(at), step)):
                *found, gradient = _rows(logits[rows].to(exact), tokens[at[rows]], taught(rows), terms)
                for value, new in zip(values, found, strict=True):
                    value[at[rows]] = new
                logits[rows] = gradient
            if of_hidden is not None:
                of_hidden[at] = (logits @ matrix).to(hidden.dtype)
            if of_head is not None:
                of_head += logits.T @ states
    total = terms.ce_weight * values[0].sum() + terms.weight * values[1].sum()
    return (total, *values), (of_hidden, of_head)


Taught: TypeAlias = TopTarget | Tensor | None
"""What a teacher predicts at some positions: stored tokens, or logits (n, Vt)."""


def _prediction(target: Target | None, dtype: torch.dtype) -> Callable[[slice], Callable[[slice], Taught]]:
    """The prediction for a chunk of the target's positions, and of that for some rows."""
    match target:
        case DenseTarget(states, head):
            matrix = head.to(dtype)
            return lambda chunk: (states[chunk].to(dtype) @ matrix.T).__getitem__
        case TopTarget(ids, logprobs):
            return lambda chunk: lambda rows: TopTarget(ids[chunk][rows], logprobs[chunk][rows])
        case None:
            return lambda chunk: lambda rows: None


def _rows(logits: Tensor, tokens: Tensor, taught: Taught, terms: Terms) -> tuple[Tensor, ...]:
    """Cross-entropies, divergences, agreements (n,) and the loss's gradient (n, V); `logits` (n, V) are overwritten."""
    cross_entropy, divergence = logits.new_zeros(2, len(logits))
    agrees = torch.zeros_like(tokens, dtype=torch.bool)
    gradient = torch.zeros((), dtype=logits.dtype, device=logits.device)
    if terms.ce_weight:
        log_q = logits.log_softmax(-1)
        cross_entropy = -log_q.gather(-1, tokens[:, None]).squeeze(-1)
        gradient = log_q.exp_()
        gradient[torch.arange(len(tokens), device=tokens.device), tokens] -= 1
        gradient *= terms.ce_weight
    if terms.weight and taught is not None:
        divergence, agrees, pull = _diverge(logits, taught, terms)
        pull *= terms.weight / terms.divergence.temperature
        if pull.shape != logits.shape:
            pull = torch.nn.functional.pad(pull, (0, logits.shape[1] - pull.shape[1]))
        gradient = pull if gradient.ndim == 0 else gradient.add_(pull)
    return cross_entropy, divergence, agrees, gradient


def _diverge(logits: Tensor, taught: TopTarget | Tensor, terms: Terms) -> tuple[Tensor, Tensor, Tensor]:
    """Divergences, agreements (n,) and the gradients (n, W) with respect to logits / temperature."""
    temperature = terms.divergence.temperature
    if isinstance(taught, TopTarget):
        mine = logits[:, : terms.words]
        likeliest = taught.ids.gather(-1, taught.logprobs.argmax(-1, keepdim=True))
    else:
        words = None if taught.shape[1] == logits.shape[1] else terms.words
        mine, theirs = logits[:, :words], taught[:, :words].to(logits.dtype)
        likeliest = theirs.argmax(-1, keepdim=True)
    agrees = mine.gather(-1, likeliest).squeeze(-1) == mine.amax(-1)
    if isinstance(taught, TopTarget):
        value, gradient = top_divergence(terms.divergence, mine / temperature, taught)
    else:
        log_q, log_p = ((x / temperature).log_softmax(-1) for x in (mine, theirs))
        value, gradient = divergence_of(terms.divergence, log_q, log_p)
    return value, agrees, gradient
