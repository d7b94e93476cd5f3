"""Distilling attention maps, without holding them.

L_attn = 1/(N H L) sum over layers, heads, response query rows and the keys they see of A_t (log A_t - log A_s)

(arXiv 2406.19112; N response tokens, H heads, L layers.) The released code asks both models for all their maps, which
takes layers x heads x tokens^2 numbers, and for an attention that gives none. Here a model runs as always; the queries
and keys of its layers, after rotation, are kept, and a few rows of one map at a time are computed from them, in the
forward and again in the backward pass.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from harness.core.errors import HarnessError

NAME = "harness_recorded"
QUERIES = 128
"""Rows of a map (of all heads) that are computed at once."""
UNSEEN = -1e30
"""The score of a key that a query does not see: its attention is 0, and unlike the log of 0 it leaves no NaN."""


@dataclass(frozen=True)
class Attention:
    """What one layer computes its maps from."""

    query: Tensor
    """(B, H, L, D), rotated."""
    key: Tensor
    """(B, H / G, L, D), rotated; each is used by G query heads."""
    mask: Tensor | None
    """(B or 1, 1, L, L), true where a query sees a key: causal, within its window, no padding. None: causal."""
    scaling: float


_recording: ContextVar[dict[int, Attention] | None] = ContextVar("_recording", default=None)


@contextmanager
def recorded_attention(model: Any) -> Iterator[dict[int, Attention]]:
    """Layer (from 0) -> its attention in the last forward pass of `model` inside; with its gradient, where it has one.

    Raises:
        HarnessError: a model whose maps are no plain softmax of scaled products.
    """
    layers: dict[int, Attention] = {}
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    token = _recording.set(layers)
    try:
        yield layers
    finally:
        _recording.reset(token)
        model.set_attn_implementation(before)
    if len(layers) != (count := layers_of(model)):
        raise HarnessError(
            f"{type(model).__name__} shows the attention of {len(layers)} of its {count} layers",
            fix="Set w_attn to 0, or use a model of the Llama, Mistral, Mixtral, Qwen or a like family.",
        )


def layers_of(model: Any) -> int:
    """How many layers a model has."""
    count: int = model.config.get_text_config().num_hidden_layers
    return count


def layer_pairs(wanted: Mapping[int, int] | None, student: int, teacher: int) -> Mapping[int, int]:
    """Student layer -> teacher layer, for models of that many layers; None means one to one.

    Raises:
        HarnessError: one to one between different numbers of layers, or a layer that there is not.
    """
    if wanted is None and student != teacher:
        raise HarnessError(
            f"attention is distilled layer by layer; the student has {student} layers, the teacher {teacher}",
            fix="Name pairs: `attention_layers: {student layer: teacher layer, ...}`, counted from 0.",
        )
    pairs = {i: i for i in range(student)} if wanted is None else wanted
    for mine, theirs in pairs.items():
        if not (0 <= mine < student and 0 <= theirs < teacher):
            raise HarnessError(
                f"attention_layers has {mine}: {theirs}; the student has {student} layers, the teacher {teacher}",
                fix="Layers are counted from 0.",
            )
    return pairs


def attention_loss(
    student: Mapping[int, Attention], teacher: Mapping[int, Attention], pairs: Mapping[int, int], response: Tensor
) -> Tensor:
    """N x L_attn, a scalar in nats: a sum over query rows, a mean over heads and paired layers.

    `response` (B, L) is true at the response tokens, whose own rows of the maps are compared. Where student and teacher
    have different numbers of heads (`heads_differ`), each one's maps are averaged over its heads first.
    """
    total = torch.zeros((), device=response.device)
    for mine, theirs in pairs.items():
        own = student[mine]
        for row, (query, key) in enumerate(zip(own.query, own.key, strict=True)):
            queries = response[row].nonzero().squeeze(-1)
            for at in queries.split(QUERIES) if len(queries) else ():
                total = total + _divergence(own, teacher[theirs], query, key, row, at)
    return total / len(pairs)


def heads_differ(student: Mapping[int, Attention], teacher: Mapping[int, Attention]) -> bool:
    """Whether maps can only be compared as means over heads."""
    mine, theirs = (int(next(iter(layers.values())).query.shape[1]) for layers in (student, teacher))
    return mine != theirs


def _divergence(student: Attention, teacher: Attention, query: Tensor, key: Tensor, row: int, at: Tensor) -> Tensor:
    """The divergence at rows `at` of one conversation's maps, summed over rows, averaged over heads; keeps no maps.

    `query` and `key` are the student's of this conversation.
    """
    averaged = heads_differ({0: student}, {0: teacher})

    def compute(query: Tensor, key: Tensor) -> Tensor:
        log_p, seen = _log_maps(teacher, teacher.query[row], teacher.key[row], row, at)
        log_q, visible = _log_maps(student, query, key, row, at)
        if bool((seen & ~visible).any()):
            raise HarnessError(
                "a layer of the teacher attends further back than the student's that is to learn from it",
                fix="Pair layers with equal windows in `attention_layers`.",
            )
        if averaged:
            log_p, log_q = (maps.logsumexp(0, keepdim=True) - math.log(len(maps)) for maps in (log_p, log_q))
        return (log_p.exp() * (log_p - log_q)).sum() / len(log_p)

    with torch.autocast(at.device.type, enabled=False):
        value: Tensor = checkpoint(compute, query, key, use_reentrant=False, preserve_rng_state=False)
    return value


def _log_maps(given: Attention, query: Tensor, key: Tensor, row: int, at: Tensor) -> tuple[Tensor, Tensor]:
    """Log attention (H, n, l) of one conversation's queries `at` (n,), and where these see a key, (n, l).

    Of its L keys, l are up to the last of these queries.
    """
    exact = torch.promote_types(query.dtype, torch.float32)
    query, key = query[:, at].to(exact), key[:, : int(at[-1]) + 1].to(exact)
    key = key.repeat_interleave(len(query) // len(key), dim=0)
    if given.mask is None:
        seen = torch.arange(key.shape[1], device=at.device) <= at[:, None]
    else:
        seen = given.mask[row if len(given.mask) > 1 else 0, 0, at, : key.shape[1]]
    scores = query @ key.transpose(1, 2) * given.scaling
    return scores.masked_fill(~seen, UNSEEN).log_softmax(-1), seen


def _recorded(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """transformers' own attention; what it attends with is kept while a recording is on."""
    if (layers := _recording.get()) is not None:
        if extras := [name for name in ("softcap", "s_aux", "position_bias") if options.get(name) is not None]:
            raise HarnessError(
                f"{type(module).__name__} computes its attention in a way that is not supported ({', '.join(extras)})",
                fix="Set w_attn to 0, or use a model of the Llama, Mistral, Mixtral, Qwen or a like family.",
            )
        scaling = options.get("scaling") or query.shape[-1] ** -0.5
        layers[module.layer_idx] = Attention(query, key, attention_mask, scaling)
    out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    return out, None


AttentionInterface.register(NAME, _recorded)
AttentionMaskInterface.register(NAME, sdpa_mask)
