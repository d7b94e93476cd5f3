"""Many tests at once: adjusted p-values.

Testing 20 cells against a baseline at 5 % finds one "winner" among 20 equal models on average. Holm's step-down
procedure (1979) holds the chance of even one false finding at the nominal level, whatever the tests' dependence (they
share a baseline), and is never weaker than Bonferroni's. Benjamini & Hochberg's (1995) holds the expected share of
false findings instead: for screening many cells, not for a claim about one.
"""

from collections.abc import Sequence

import numpy as np

from harness.stats.spread import Floats


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm-adjusted p-values, in the given order; None (no test) stays None and is not counted."""
    values, places = _tested(p)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * (len(values) - np.arange(len(values))))
    return _put_back(stepped, order, places, len(p))


def holm_level(adjusted: Sequence[float | None], alpha: float = 0.05) -> float:
    """The confidence level at which Holm tested what it did not reject: 1 - alpha / (tests left when it stopped)."""
    left = sum(p is not None and p >= alpha for p in adjusted)
    return 1 - alpha / max(1, left)


def benjamini_hochberg(p: Sequence[float | None]) -> list[float | None]:
    """Benjamini-Hochberg adjusted p-values (q-values), in the given order; None stays None and is not counted."""
    values, places = _tested(p)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * len(values) / np.arange(1, len(values) + 1)
    stepped = np.minimum.accumulate(scaled[::-1])[::-1]
    return _put_back(stepped, order, places, len(p))


def _tested(p: Sequence[float | None]) -> tuple[Floats, list[int]]:
    places = [k for k, value in enumerate(p) if value is not None]
    return np.array([p[k] for k in places], dtype=np.float64), places


def _put_back(stepped: Floats, order: np.ndarray, places: list[int], total: int) -> list[float | None]:
    out: list[float | None] = [None] * total
    for rank, position in enumerate(order):
        out[places[int(position)]] = min(1.0, float(stepped[rank]))
    return out
