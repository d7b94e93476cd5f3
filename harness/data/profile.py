"""What a dataset holds, as a training reads it: counts, token lengths and a few conversations in full."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

EDGES = tuple(sorted({size << k for k in range(30) for size in (1, 3)} | {0, 2**62}))
"""A bin of a histogram holds lengths from one edge to below the next: 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, ..."""

Part = Literal["read", "taught", "cut"]


@dataclass(frozen=True)
class Spread:
    """How many tokens conversations have."""

    total: int
    median: float
    p95: float
    most: int
    bins: Mapping[int, int]
    """The lower edge of a bin (see EDGES) -> conversations; bins without any are left out."""


@dataclass(frozen=True)
class Piece:
    """A run of characters of a conversation as the chat template writes it."""

    part: Part
    """`read` and not learned, `taught`, or `cut` off behind max_length."""
    text: str
    left_out: int = 0
    """Characters that are left out behind `text`, before `rest`."""
    rest: str = ""


@dataclass(frozen=True)
class Shown:
    """A conversation as the model sees it."""

    id: str
    tokens: int
    taught: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Profile:
    """What a dataset holds, as a training reads it."""

    max_length: int
    rows: int
    used: int
    """Rows that are trained on; the spreads and `truncated` are of them."""
    left_out: Mapping[str, int]
    """Rows by reason."""
    truncated: int
    """Rows that lose tokens behind max_length."""
    turns: Mapping[int, int]
    """Turns of the assistant, at most 9 of which are counted -> rows."""
    prompt: Spread
    """Tokens that are read and not learned, the template's among them."""
    response: Spread
    """Tokens that are learned."""
    repeats: int
    """Rows that nearly repeat an earlier one (see `data.duplicates`)."""
    pairs: tuple[tuple[str, str], ...]
    """The ids of the first such rows, each with that of the earlier row."""
    examples: tuple[Shown, ...]
    """Rows drawn at random."""


def spread(lengths: NDArray[Any]) -> Spread:
    """The spread of conversations' tokens (conversations,); of no conversations zeros."""
    if not len(lengths):
        return Spread(0, 0, 0, 0, {})
    median, p95 = np.percentile(lengths, [50, 95]).tolist()
    counts = np.bincount(np.searchsorted(EDGES, lengths, side="right") - 1)
    bins = {EDGES[number]: count for number, count in enumerate(counts.tolist()) if count}
    return Spread(int(lengths.sum(dtype=np.int64)), median, p95, int(lengths.max()), bins)
