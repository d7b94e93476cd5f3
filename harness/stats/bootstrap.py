"""The cluster bootstrap, for statistics that are no means (a rank correlation, a ratio, a median).

Whole clusters are drawn with replacement, so rows that belong together stay together. The bounds are the
bias-corrected and accelerated percentiles of Efron (1987), with the jackknife over clusters for the acceleration.
For a mean use `intervals.mean_interval`: with few clusters any percentile method is too narrow.

`scipy.stats.bootstrap` gives the same bounds, but NaN where all jackknife values agree, as those of a median may (the
acceleration is 0 here), and it takes more than a second to import.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness.stats.distributions import normal_below, normal_quantile
from harness.stats.spread import Floats

Indices = NDArray[np.intp]


def bootstrap_ci(
    clusters: NDArray[np.generic],
    statistic: Callable[[Indices], float],
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
    bias_corrected: bool = True,
) -> tuple[float, float] | None:
    """The interval of `statistic`, a function of row indices; None with fewer than two clusters or no spread.

    `clusters` holds each row's cluster; the rows of a cluster that is drawn twice occur twice.
    """
    _, codes = np.unique(clusters, return_inverse=True)
    rows = [np.flatnonzero(codes == k) for k in range(codes.max() + 1)] if len(codes) else []
    if len(rows) < 2:
        return None
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(rows), size=(resamples, len(rows)))
    replicates = np.array([statistic(np.concatenate([rows[k] for k in draw])) for draw in draws])
    if np.ptp(replicates) == 0:
        return None
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if bias_corrected:
        jackknife = np.array([statistic(np.flatnonzero(codes != k)) for k in range(len(rows))])
        tails = _corrected(tails, replicates, statistic(np.arange(len(codes))), jackknife)
    low, high = np.quantile(replicates, tails)
    return float(low), float(high)


def _corrected(tails: Floats, replicates: Floats, observed: float, jackknife: Floats) -> Floats:
    """Efron's BCa percentiles; ties with the observed value count half."""
    share = (np.mean(replicates < observed) + np.mean(replicates <= observed)) / 2
    bias = normal_quantile(np.clip(share, 1e-6, 1 - 1e-6))
    deviations = jackknife.mean() - jackknife
    scale = 6 * (deviations**2).sum() ** 1.5
    acceleration = (deviations**3).sum() / scale if scale > 0 else 0.0
    z = bias + normal_quantile(tails)
    out: Floats = normal_below(bias + z / (1 - acceleration * z))
    return out
