"""Token sequences, cut into batches by length so that little computation goes into padding."""

from collections.abc import Sequence


def cut(lengths: Sequence[int], rows: int | None = None, tokens: int | None = None) -> list[list[int]]:
    """The indices of `lengths`, longest first, in batches of at most `rows` and, padding included, `tokens`.

    A sequence of more than `tokens` is alone in its batch. None: no such limit.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        batch = batches[-1] if batches else None
        if batch is None or len(batch) == rows or (tokens and (len(batch) + 1) * lengths[batch[0]] > tokens):
            batches.append([index])
        else:
            batch.append(index)
    return batches
