"""The mean of rows that come in clusters, and its standard error.

The two turns of an MT-Bench question, or the repeats of a verdict, are not independent: a hard question is hard on
both turns. A standard error that treats rows as independent is then too small (or too large). The cluster-robust
standard error sums the deviations inside each cluster before squaring them:

    stderr = sqrt(sum over clusters c of (sum over rows i in c of (y_i - mean))^2) / n

with n the number of rows. It is the ratio (linearised) form, so clusters may differ in size; it has no small-sample
correction (CR0). With one row per cluster it is the usual standard error with n in place of n - 1. Source: Miller,
*Adding Error Bars to Evals* (arXiv 2411.00640), section 2.2.

It describes a single score. Intervals and tests (`intervals`) scale the variance by G / (G - 1) for G clusters and use
the t distribution, which matters for a category of ten questions.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray


def clustered_mean(
    values: NDArray[np.float64] | Sequence[float], clusters: Sequence[Hashable]
) -> tuple[float, float | None]:
    """Mean over rows and its standard error clustered by `clusters` (one label per row).

    The standard error is None with a single cluster, which tells nothing about other clusters.

    Raises:
        ValueError: there are no rows, or not one label per row.
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 1 or len(rows) == 0 or len(rows) != len(clusters):
        raise ValueError(f"need one cluster label for each of at least one value, got {rows.shape} and {len(clusters)}")
    mean = float(rows.mean())
    labels = {label: k for k, label in enumerate(dict.fromkeys(clusters))}
    if len(labels) == 1:
        return mean, None
    sums = np.bincount([labels[c] for c in clusters], weights=rows - mean)
    return mean, float(np.sqrt((sums**2).sum()) / len(rows))
