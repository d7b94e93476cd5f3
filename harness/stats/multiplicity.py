"""Many tests at once: adjusted p-values.

Testing 20 cells against a baseline at 5 % finds one "winner" among 20 equal models on average. Holm's step-down
procedure (1979) keeps the probability of any false finding at the nominal level, however the tests depend on each other
(they share a baseline), and is never weaker than Bonferroni's.
"""

from collections.abc import Sequence

import numpy as np


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm-adjusted p-values, in the order of `p`; None (no test) stays None and is not counted."""
    tested = [place for place, value in enumerate(p) if value is not None]
    values = np.array([p[place] for place in tested], dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * (len(values) - np.arange(len(values))))
    adjusted: list[float | None] = [None] * len(p)
    for rank, position in enumerate(order):
        adjusted[tested[int(position)]] = min(1.0, float(stepped[rank]))
    return adjusted


def holm_level(adjusted: Sequence[float | None], alpha: float = 0.05) -> float:
    """The confidence level at which Holm tested the hypotheses that it kept: 1 - alpha / (tests left at its stop)."""
    left = sum(p is not None and p >= alpha for p in adjusted)
    return 1 - alpha / max(1, left)
