"""Token sequences as batches: cut by length, so that little computation goes into padding, and padded to tensors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def by_length(lengths: Sequence[int], *, rows: int | None = None, tokens: int | None = None) -> list[list[int]]:
    """The indices of `lengths`, longest first, in batches of at most `rows` and at most `tokens`, padding included.

    A sequence of more than `tokens` is alone in its batch. Equal lengths stay in their order.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        batch = batches[-1] if batches else None
        if batch is None or len(batch) == rows or (tokens and (len(batch) + 1) * lengths[batch[0]] > tokens):
            batches.append([index])
        else:
            batch.append(index)
    return batches


def padded(rows: Sequence[Any], filler: int) -> "tuple[Tensor, Tensor]":
    """Rows of whole numbers as (B, L), `filler` on the right; and their mask, 1 for numbers of a row, 0 for padding."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    ids = [torch.as_tensor(row, dtype=torch.long) for row in rows]
    mask = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
    return pad_sequence(ids, batch_first=True, padding_value=filler), mask
