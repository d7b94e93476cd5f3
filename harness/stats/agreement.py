"""Krippendorff's alpha: how far several judges agree beyond chance, whatever verdicts are missing.

    alpha = 1 - observed disagreement / disagreement expected by chance

(Krippendorff, *Computing Krippendorff's Alpha-Reliability*, 2011). The observed one is between the verdicts on a unit,
the expected one between any two verdicts; values of a unit with a single verdict pair with nothing and are left out.
The difference of two verdicts is squared (interval data: ratings and preferences alike). 1 is agreement, 0 what chance
gives, below 0 judges who differ more than by chance.

The mean squared difference of the pairs of some values is twice their variance, so no pairs are formed: the observed
disagreement is the variance within units, each weighed by its number of verdicts, the expected one that of all.
"""

import numpy as np

from harness.stats.spread import Floats


def alpha(verdicts: Floats) -> float | None:
    """Alpha of verdicts (judges, units), NaN where a judge gave none; None where nothing pairs, or all are equal."""
    verdicts = verdicts[:, np.isfinite(verdicts).sum(axis=0) > 1]
    if not verdicts.size or np.nanmin(verdicts) == np.nanmax(verdicts):
        return None
    m = np.isfinite(verdicts).sum(axis=0)
    observed = (np.nanvar(verdicts, axis=0, ddof=1) * m).sum() / m.sum()
    return 1 - float(observed / np.nanvar(verdicts, ddof=1))
