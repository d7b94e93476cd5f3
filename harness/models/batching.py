"""Sequences of different lengths to batches in which little is padding."""

from collections.abc import Sequence


def by_length(lengths: Sequence[int], *, rows: int | None = None, tokens: int | None = None) -> list[list[int]]:
    """The places of `lengths`, longest first, in batches of at most `rows` and at most `tokens`, padding included.

    A sequence of more than `tokens` is alone in its batch. Equal lengths stay in their order.
    """
    batches: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        batch = batches[-1] if batches else []
        full = len(batch) == rows or (tokens is not None and (len(batch) + 1) * lengths[(batch or [place])[0]] > tokens)
        if full or not batch:
            batches.append([place])
        else:
            batch.append(place)
    return batches
