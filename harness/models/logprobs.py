"""Log-probabilities and ranks at response positions, a chunk of positions at a time; a teacher's predictions there.

Logits of N positions over a vocabulary of V take N x V floats; here only `chunk` x V exist at once, in the backward
pass too, which computes each chunk again. (`models.token_losses` computes a loss in a single pass.)
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 512
"""Positions per chunk: with a vocabulary of 50,000 a chunk of float32 logits is 100 MB."""
ROWS = 64
"""Positions whose logits a loss works on at once on a CPU: few enough for its caches to hold them from pass to pass."""


@dataclass(frozen=True)
class Head:
    """What makes logits of a model's last hidden states."""

    weight: "Tensor"
    """(V, H): the output matrix."""
    cap: float | None = None
    """The bound of the logits, where the model has any (Gemma 2)."""

    def __getitem__(self, rows: slice) -> "Head":
        """The head of some of the tokens."""
        return Head(self.weight[rows], self.cap)

    def logits(self, hidden: "Tensor") -> "Tensor":
        """Logits (N, V) in float32 of hidden states (N, H)."""
        return capped((hidden @ self.weight.T).float(), self.cap)


def capped(products: "Tensor", cap: float | None) -> "Tensor":
    """The logits that products of hidden states and output matrix become: cap x tanh(product / cap)."""
    return products if cap is None else (products / cap).tanh_() * cap


@dataclass(frozen=True)
class DenseTarget:
    """A teacher's predictions at N positions, to be computed from its model."""

    hidden: "Tensor"
    """(N, Ht): its last hidden states."""
    head: Head


@dataclass(frozen=True)
class TopTarget:
    """A teacher's stored predictions at N positions: the K likeliest tokens of each."""

    ids: "Tensor"
    """(N, K) int64."""
    logprobs: "Tensor"
    """(N, K) float32: natural logs of softmax(logits / temperature); all other tokens share the rest up to 1."""

    def __getitem__(self, positions: slice) -> "TopTarget":
        """The predictions at some of the positions."""
        return TopTarget(self.ids[positions], self.logprobs[positions])


Target = DenseTarget | TopTarget


def response_positions(mask: "Tensor") -> "tuple[Tensor, Tensor]":
    """Rows and columns of the hidden states that predict response tokens.

    The logits at t predict the token at t + 1: for a (B, L) mask this gives two (N,) index tensors with
    `mask[rows, columns + 1]` true. A response token in column 0 has no predictor and is left out.
    """
    rows, columns = mask[:, 1:].nonzero(as_tuple=True)
    return rows, columns


def token_logprobs(hidden: "Tensor", head: Head, targets: "Tensor", chunk: int = CHUNK) -> "Tensor":
    """Natural-log probabilities (N,) in float32 of `targets` (N,), given hidden states (N, H).

    Differentiable in `hidden` and the head's weight.
    """
    import torch
    from torch.utils.checkpoint import checkpoint

    hidden, targets = hidden.to(head.weight.device), targets.to(head.weight.device)
    pieces = list(zip(hidden.split(chunk), targets.split(chunk), strict=True))
    if not torch.is_grad_enabled():
        return torch.cat([_token_logprobs(head, *piece) for piece in pieces])
    options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
    return torch.cat([checkpoint(_token_logprobs, head, *piece, **options) for piece in pieces])


def token_logprobs_and_ranks(
    hidden: "Tensor", head: Head, targets: "Tensor", chunk: int = CHUNK
) -> "tuple[Tensor, Tensor]":
    """`token_logprobs`, and the ranks (N,) of `targets` among all tokens: 1 for the likeliest. Not differentiable."""
    import torch

    hidden, targets = hidden.to(head.weight.device), targets.to(head.weight.device)
    with torch.no_grad():
        pieces = [_both(head, *piece) for piece in zip(hidden.split(chunk), targets.split(chunk), strict=True)]
    return torch.cat([logprobs for logprobs, _ in pieces]), torch.cat([ranks for _, ranks in pieces])


def top_logprobs(hidden: "Tensor", head: Head, k: int, temperature: float = 1.0, chunk: int = CHUNK) -> TopTarget:
    """The `k` likeliest tokens (all, where there are fewer) at N positions, likeliest first. Not differentiable."""
    import torch

    k, hidden = min(k, len(head.weight)), hidden.to(head.weight.device)
    pieces = []
    with torch.no_grad():
        for piece in hidden.split(chunk):
            logits = head.logits(piece) / temperature
            top = logits.topk(k, dim=-1)
            pieces.append((top.indices, top.values - logits.logsumexp(dim=-1, keepdim=True)))
    return TopTarget(torch.cat([ids for ids, _ in pieces]), torch.cat([logprobs for _, logprobs in pieces]))


def _token_logprobs(head: Head, hidden: "Tensor", targets: "Tensor") -> "Tensor":
    logits = head.logits(hidden)
    return logits.gather(-1, targets[:, None]).squeeze(-1) - logits.logsumexp(dim=-1)


def _both(head: Head, hidden: "Tensor", targets: "Tensor") -> "tuple[Tensor, Tensor]":
    logits = head.logits(hidden)
    chosen = logits.gather(-1, targets[:, None])
    return chosen.squeeze(-1) - logits.logsumexp(dim=-1), (logits > chosen).sum(dim=-1) + 1
