"""A cheap judge's score of all answers, put right by a reference judge's verdicts on a random share of them.

With f the cheap ("live") judge's values on all N questions and Y the reference's on m of them, drawn at random,

    score = mean of Y over the m + weight (mean of f over the N - mean of f over the m)

is right for every weight, because the bracket is 0 on average; it is most precise with weight = Cov(Y, f) / Var(f).
This is PPI++ (Angelopoulos, Duchi & Zrnic, arXiv 2311.01453), the regression estimator of survey sampling. The paper
writes it with the mean of f over the N - m other questions and our weight times (N - m) / N: the same number. The
weight is held in [0, 1], as there: a judge that says nothing is left out.

The interval is the jackknife's over questions, the weight tuned anew each time, so that the interval holds the weight's
uncertainty, and rows that share a question stay together. Leaving out question i gives R(-i), with mean R'; what
question i contributes is score + (N - 1) (R' - R(-i)), and the mean of the contributions is the score. So a difference
of two models is paired over their contributions by the same code as any other (`intervals`). That code takes the t
quantile at N - 1 degrees of freedom, and the m labels have m - 1: contributions are spread by the quantiles' ratio.
The interval is about other questions than these, as everywhere here: with all audited it is the reference's own.

The labels have to be a random share of the same answers: those that a person picked, or of other models' answers, are
not. Coverage on pairs of real judges: `results/reference/audit/README.md`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from harness.stats.intervals import Interval, mean_interval
from harness.stats.spread import Floats, Rows, totals

FEWEST = 10
"""Audited questions below which there is no score: a weight and a spread of a handful of labels mean nothing."""


@dataclass(frozen=True)
class Audited:
    """A score and what it was made of, in the unit of the values."""

    score: Interval
    reference: Interval
    """The reference's verdicts alone: the mean over the audited questions."""
    live: float
    """The live judge's own mean over all questions."""
    weight: float
    """Of the live judge, 0 to 1."""
    audited: int
    """Questions that have a value of both judges."""
    clusters: NDArray[Any]
    contributions: Floats
    """What each of `clusters` contributes to the score, (questions,); their mean is the score."""

    @property
    def effective(self) -> float | None:
        """Audited questions that would give as small a standard error without the live judge; None without errors."""
        if not self.score.stderr or not self.reference.stderr:
            return None
        return self.audited * (self.reference.stderr / self.score.stderr) ** 2


def audit(live: Rows, reference: Rows) -> Audited | None:
    """The score of `live` rows of all questions, audited by the `reference` rows of a random share of them.

    A cluster is a question. Rows of a unit (repeats of a verdict) are averaged first; a unit counts as audited where
    both judges have a value. None with fewer than `FEWEST` audited questions.
    """
    f, clusters = _unit_means(live)
    labels, _ = _unit_means(reference)
    y = np.array([labels.get(unit, np.nan) for unit in f], dtype=np.float64)
    values, question = np.array(list(f.values())), np.array(list(clusters.values()), dtype=object)
    both = ~np.isnan(y)
    order = list(dict.fromkeys(question.tolist()))
    audited = len(set(question[both].tolist()))
    if audited < FEWEST:
        return None
    y0, f0 = float(y[both].mean()), float(values[both].mean())  # values near 0 keep the sums of squares exact
    sums = _sums(
        *totals(question, values - f0, order),
        *totals(question[both], y[both] - y0, order),
        totals(question[both], values[both] - f0, order)[0],
    )
    whole, weight = _score(sums.sum(axis=1))
    without, _ = _score(sums.sum(axis=1, keepdims=True) - sums)
    widening = stdtrit(audited - 1, 0.975) / stdtrit(len(order) - 1, 0.975)
    contributions = y0 + whole + widening * (len(order) - 1) * (without.mean() - without)
    names = np.array(order, dtype=object)
    interval = mean_interval([Rows(contributions, names, names)])
    alone = mean_interval([Rows(y[both], question[both], np.flatnonzero(both))])
    assert interval is not None, "there are questions"
    assert alone is not None, "some are audited"
    return Audited(interval, alone, float(values.mean()), float(weight), audited, names, contributions)


def _unit_means(rows: Rows) -> tuple[dict[Any, float], dict[Any, Any]]:
    """By unit the mean over its repeats, and its cluster."""
    clusters = dict(zip(rows.units.tolist(), rows.clusters.tolist(), strict=True))
    sums, sizes = totals(rows.units, rows.values, list(clusters))
    return dict(zip(clusters, (sums / sizes).tolist(), strict=True)), clusters


def _sums(f: Floats, sizes: Floats, y: Floats, audited: Floats, g: Floats) -> Floats:
    """What `_score` needs of each question, (sums, questions): sums over its rows, and products of these sums.

    `f` is over all rows, `sizes` their number; `y` and `g` are the reference's and the live judge's over audited rows,
    `audited` their number.
    """
    return np.stack([f, sizes, y, g, audited, y * g, g * g, y * audited, g * audited, audited * audited])


def _score(sums: Floats) -> tuple[Floats, Floats]:
    """Score and weight from the totals of `_sums`, (sums,) or (sums, k) for k scores at once."""
    f, sizes, y, g, audited, yg, gg, y_size, g_size, size2 = sums
    y_mean, g_mean = y / audited, g / audited
    # Of each question the sum of deviations from the mean, as in the clustered standard error.
    covariance = yg - y_mean * g_size - g_mean * y_size + y_mean * g_mean * size2
    variance = gg - 2 * g_mean * g_size + g_mean**2 * size2
    slope = np.divide(covariance, variance, out=np.zeros_like(variance), where=variance > 1e-9 * (gg + size2))
    weight = np.clip(slope, 0, 1)
    return y_mean + weight * (f / sizes - g_mean), weight
