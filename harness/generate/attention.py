"""Attention for decoding one token at a time, several times faster on a CPU where heads share keys and values.

transformers repeats the keys and values of a group for each of its query heads before attending: for one new token
that copies the whole cache in every layer. Seen from the cache, the query heads of a group are just more queries: with
their axis moved to where the queries are, nothing is copied, and the sums are the same
(`benchmarks/decode_attention.py` has the figures).
"""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from harness.models.load import caps_attention

NAME = "harness_grouped"


def use(model: Any) -> None:
    """Let a model attend with it; one that bounds its attention scores keeps the attention that does so."""
    if not caps_attention(model):
        model.set_attn_implementation(NAME)


def grouped_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """One new token per row: query (B, H, 1, D), key and value (B, H / G, L, D), mask (B, 1, 1, L) -> (B, 1, H, D).

    Everything else (a prompt, dropout) is transformers' own.
    """
    if query.shape[2] != 1 or options.get("dropout"):
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return out, None
    batch, heads, _, width = query.shape
    groups = key.shape[1]
    queries = query.view(batch, groups, heads // groups, width)
    out = scaled_dot_product_attention(queries, key, value, attn_mask=attention_mask, scale=options.get("scaling"))
    return out.reshape(batch, 1, heads, width), None


AttentionInterface.register(NAME, grouped_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
