"""Grouped decoding attention is transformers' own attention, without the copies."""

from typing import Any

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from harness.generate.attention import grouped_attention


class Layer:
    """What transformers asks of an attention module."""

    num_key_value_groups = 3
    is_causal = True


def tensors(new: int, length: int) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 6, new, 8, generator=generator)
    key, value = (torch.randn(2, 2, length, 8, generator=generator) for _ in range(2))
    mask = torch.ones(2, 1, new, length, dtype=torch.bool)
    mask[1, :, :, :2] = False
    return Layer(), query, key, value, mask


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("new", [1, 3])
def test_equal_to_repeating_keys_and_values(new: int, masked: bool) -> None:
    layer, query, key, value, mask = tensors(new, 7)
    given = mask if masked else None
    expected, _ = sdpa_attention_forward(layer, query, key, value, given, scaling=0.25)
    found, _ = grouped_attention(layer, query, key, value, given, scaling=0.25)
    assert found.shape == (2, new, 6, 8)
    torch.testing.assert_close(found, expected)


def test_hidden_positions_do_not_count() -> None:
    layer, query, key, value, mask = tensors(1, 7)
    found, _ = grouped_attention(layer, query, key, value, mask)
    value[1, :, :2] = 1e6
    again, _ = grouped_attention(layer, query, key, value, mask)
    torch.testing.assert_close(found, again)
