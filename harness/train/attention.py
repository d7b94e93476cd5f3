"""Distilling attention maps, without holding them.

L_attn = 1/(N H L) sum over layers, heads, response query rows and the keys they see of A_t (log A_t - log A_s)

(arXiv 2406.19112; N response tokens, H heads, L layers.) The paper's code has both models return all their maps, which
takes layers x heads x tokens^2 numbers and rules out fast attention. Here a model runs as always and records its
layers' rotated queries and keys; the maps are computed from these a few rows at a time, in the forward and again in the
backward pass.
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
from harness.train.settings import QUERIES

NAME = "harness_recorded"
UNSEEN = -1e30
"""The score of a key that a query does not see: its attention is 0, and unlike the log of 0 it leaves no NaN."""


@dataclass(frozen=True)
class Attention:
    """The tensors from which a layer computes its maps."""

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
    """Layer (from 0) -> its attention in the last forward pass of `model` inside the context, with its gradient if any.

    Raises:
        HarnessError: the model's maps are more than a softmax of scaled products.
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


def layer_pairs(pairs: Mapping[int, int] | None, student: int, teacher: int) -> Mapping[int, int]:
    """Student layer -> teacher layer, for models with these numbers of layers; with `pairs` None one to one.

    Raises:
        HarnessError: the numbers of layers differ and no pairs are named, or a pair names a layer that a model lacks.
    """
    if pairs is None and student != teacher:
        raise HarnessError(
            f"attention is distilled layer by layer; the student has {student} layers, the teacher {teacher}",
            fix="Name pairs: `attention_layers: {student layer: teacher layer, ...}`, counted from 0.",
        )
    pairs = {i: i for i in range(student)} if pairs is None else pairs
    for student_layer, teacher_layer in pairs.items():
        if not (0 <= student_layer < student and 0 <= teacher_layer < teacher):
            raise HarnessError(
                f"attention_layers has {student_layer}: {teacher_layer}; the student has {student} layers, the teacher "
                f"{teacher}",
                fix="Layers are counted from 0.",
            )
    return pairs


def attention_loss(
    student: Mapping[int, Attention], teacher: Mapping[int, Attention], pairs: Mapping[int, int], response: Tensor
) -> Tensor:
    """N x L_attn, a scalar in nats: a sum over query rows, a mean over heads and paired layers.

    `response` (B, L) is true at the response tokens: the maps' rows of these queries are compared. Where student and
    teacher have different numbers of heads (`heads_differ`), the maps of each are first averaged over heads.
    """
    total = torch.zeros((), device=response.device)
    for student_layer, teacher_layer in pairs.items():
        student_attention = student[student_layer]
        for row, (query, key) in enumerate(zip(student_attention.query, student_attention.key, strict=True)):
            queries = response[row].nonzero().squeeze(-1)
            for at in queries.split(QUERIES) if len(queries) else ():
                total = total + _divergence(student_attention, teacher[teacher_layer], query, key, row, at)
    return total / len(pairs)


def heads_differ(student: Mapping[int, Attention], teacher: Mapping[int, Attention]) -> bool:
    """Whether student and teacher have different numbers of heads, so that only means over heads compare."""
    student_heads, teacher_heads = (next(iter(layers.values())).query.shape[1] for layers in (student, teacher))
    return bool(student_heads != teacher_heads)


def _divergence(student: Attention, teacher: Attention, query: Tensor, key: Tensor, row: int, at: Tensor) -> Tensor:
    """The divergence at rows `at` of a conversation's maps, summed over rows, averaged over heads; keeps no maps.

    `query` and `key` are the student's for this conversation, number `row` of the batch.
    """
    averaged = heads_differ({0: student}, {0: teacher})

    def compute(query: Tensor, key: Tensor) -> Tensor:
        log_p, seen = _log_maps(teacher, teacher.query[row], teacher.key[row], row, at)
        log_q, visible = _log_maps(student, query, key, row, at)
        if bool((seen & ~visible).any()):
            raise HarnessError(
                "a layer of the teacher attends further back than the student's layer that learns from it",
                fix="Pair layers with equal windows in `attention_layers`.",
            )
        if averaged:
            log_p, log_q = (maps.logsumexp(0, keepdim=True) - math.log(len(maps)) for maps in (log_p, log_q))
        return (log_p.exp() * (log_p - log_q)).sum() / len(log_p)

    with torch.autocast(at.device.type, enabled=False):
        value: Tensor = checkpoint(compute, query, key, use_reentrant=False, preserve_rng_state=False)
    return value


def _log_maps(attention: Attention, query: Tensor, key: Tensor, row: int, at: Tensor) -> tuple[Tensor, Tensor]:
    """Log attention (H, n, l) of a conversation's queries `at` (n,), and which keys they see, (n, l).

    The l keys are the conversation's first, up to the last of these queries.
    """
    exact = torch.promote_types(query.dtype, torch.float32)
    query, key = query[:, at].to(exact), key[:, : int(at[-1]) + 1].to(exact)
    key = key.repeat_interleave(len(query) // len(key), dim=0)
    if attention.mask is None:
        seen = torch.arange(key.shape[1], device=at.device) <= at[:, None]
    else:
        seen = attention.mask[row if len(attention.mask) > 1 else 0, 0, at, : key.shape[1]]
    scores = query @ key.transpose(1, 2) * attention.scaling
    return scores.masked_fill(~seen, UNSEEN).log_softmax(-1), seen


def _recorded(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Attention as transformers computes it; inside `recorded_attention` its queries and keys are recorded."""
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
