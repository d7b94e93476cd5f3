"""Divergences of a student's next-token distribution q from a teacher's p, in nats, with their gradients.

forward_kl  KL(p || q)                                                          the distillation of arXiv 2406.19112
reverse_kl  KL(q || p)
jsd         beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q  arXiv 2306.13649

p and q are softmax(logits / temperature). jsd / beta tends to KL(p || q) as beta -> 0, jsd / (1 - beta) to KL(q || p)
as beta -> 1. Operations work in place where they can, because each pass over a large vocabulary takes time.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.linalg import vecdot

from harness.models.logprobs import TopTarget


@dataclass(frozen=True)
class Divergence:
    """A kind of divergence and its parameters."""

    kind: Literal["forward_kl", "reverse_kl", "jsd"] = "forward_kl"
    temperature: float = 1.0
    beta: float = 0.5
    """The teacher's weight in jsd's mixture."""


FORWARD_KL = Divergence()


def divergence_of(divergence: Divergence, log_q: Tensor, log_p: Tensor) -> tuple[Tensor, Tensor]:
    """Values (n,) and their gradients with respect to the student's logits / temperature, (n, W).

    `log_q` and `log_p` are (n, W) logs of distributions over the same W tokens; both are overwritten.
    """
    match divergence.kind:
        case "forward_kl":
            p = log_p.exp()
            value = vecdot(p, log_p.sub_(log_q))
            return value, log_q.exp_().sub_(p)
        case "reverse_kl":
            q = log_q.exp()
            value = vecdot(q, log_q.sub_(log_p))
            return value, log_q.sub_(value[:, None]).mul_(q)
        case "jsd":
            beta = divergence.beta
            p, q = log_p.exp(), log_q.exp()
            log_m = torch.logaddexp(log_p + math.log(beta), log_q + math.log1p(-beta))
            of_student = vecdot(q, log_q.sub_(log_m))
            value = beta * vecdot(p, log_p.sub_(log_m)) + (1 - beta) * of_student
            return value, log_q.sub_(of_student[:, None]).mul_(q).mul_(1 - beta)


def top_divergence(divergence: Divergence, logits: Tensor, target: TopTarget) -> tuple[Tensor, Tensor]:
    """`divergence_of` where only the teacher's K likeliest tokens are known; `logits` (n, W) are already / temperature.

    Both distributions are coarsened to these K tokens and a bucket for the rest. Coarsening never raises a KL
    divergence (the data-processing inequality): the value is a lower bound of the full divergence, and equal to it
    where student and teacher spread the rest alike. `logits` are overwritten by the gradient.
    """
    picked = logits.gather(-1, target.ids)
    log_p = target.logprobs.to(logits.dtype)
    if target.ids.shape[1] == logits.shape[1]:
        value, gradient = divergence_of(divergence, picked.log_softmax(-1), log_p.clone())
        return value, logits.scatter_(-1, target.ids, gradient)
    rest = logits.scatter_(-1, target.ids, -math.inf)
    mass = rest.logsumexp(-1, keepdim=True)
    log_q = torch.cat([picked, mass], -1).log_softmax(-1)
    # The teacher's rest is known only up to the rounding of the stored numbers: no less than their precision.
    least = torch.finfo(target.logprobs.dtype).eps
    outside = (1 - log_p.exp().sum(-1, keepdim=True)).clamp_min(least).log()
    value, gradient = divergence_of(divergence, log_q, torch.cat([log_p, outside], -1))
    # A token of the rest has its share of the bucket's gradient.
    shares = rest.sub_(mass).exp_().mul_(gradient[:, -1:])
    return value, shares.scatter_(-1, target.ids, gradient[:, :-1])
