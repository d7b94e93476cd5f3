"""A cheap judge's score of all answers, put right by a reference judge's verdicts on a random share of them.

With f the cheap ("live") judge's values on all N questions and Y the reference's on m of them, drawn at random,

    score = mean of Y over the m + weight (mean of f over the N - mean of f over the m)

is right for every weight, because the bracket is 0 on average; it is most precise with weight = Cov(Y, f) / Var(f).
This is PPI++ (Angelopoulos, Duchi & Zrnic, arXiv 2311.01453), the regression estimator of survey sampling. The paper
writes it with the mean of f over the N - m other questions and our weight times (N - m) / N: the same number. The
weight is held in [0, 1], as there: a judge that says nothing is left out.

The interval is the jackknife's over questions, the weight tuned anew each time, so that the interval holds the weight's
uncertainty, and rows that share a question stay together. Leaving out question i gives R(-i), with mean R'; what
question i contributes is score + (N - 1) (R' - R(-i)), and the mean of the contributions is the score. Their interval
is that of any mean (`intervals`), whose t quantile has N - 1 degrees of freedom, while the m labels have m - 1:
contributions are spread by the ratio of the quantiles. The interval is about other questions than these, as everywhere
here: with all audited it is the reference's own.

The difference of two models has a weight of its own, tuned on the differences of their values, for what is common to
both models' verdicts on a question cancels only under one weight. So it is not to the digit the difference of scores.

The labels have to be a random share of the same answers: those that a person picked, or of other models' answers, are
not. Coverage on pairs of real judges: `results/reference/audit/README.md`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from harness.stats.intervals import Difference, Interval, mean_interval, paired_difference
from harness.stats.spread import Floats, Rows, totals

FEWEST = 10
"""Audited questions below which there is no score: a weight and a spread of a handful of labels mean nothing."""


@dataclass(frozen=True)
class Judged:
    """One model's values by both judges, in one unit."""

    live: Rows
    """Of all questions."""
    reference: Rows
    """Of a random share of them. A row is paired with the live judge's by its unit; a cluster is a question."""


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
    contributions: Rows
    """What each question contributes to the score: a row for each, whose mean is the score."""

    @property
    def effective(self) -> float | None:
        """Audited questions that would give as small a standard error without the live judge; None without errors."""
        if not self.score.stderr or not self.reference.stderr:
            return None
        return self.audited * (self.reference.stderr / self.score.stderr) ** 2


def audit(judged: Judged) -> Audited | None:
    """The audited score of one model; None with fewer than `FEWEST` audited questions.

    Rows of a unit (repeats of a verdict) are averaged first; a unit counts as audited where both judges have a value.
    """
    table = _table([judged.live], [judged.reference])
    if table.audited < FEWEST:
        return None
    weights = table.weights()
    contributions = table.contributions(*weights)
    interval, alone = mean_interval([contributions]), mean_interval([table.labels])
    assert interval is not None, "there are questions"
    assert alone is not None, "some are audited"
    return Audited(interval, alone, float(table.f.mean()), float(weights[0]), table.audited, contributions)


def audited_difference(first: Sequence[Judged], second: Sequence[Judged]) -> Difference | None:
    """The audited difference of two models: the mean of `first` minus that of `second`, replicates (seeds) of each.

    It is paired over the units that all replicates have, and audited over those that the reference has judged in all.
    None with fewer than `FEWEST` audited questions.
    """
    replicates = [*first, *second]
    if not first or not second:
        return None
    signs = [1 / len(first)] * len(first) + [-1 / len(second)] * len(second)
    live, reference = [r.live for r in replicates], [r.reference for r in replicates]
    both = _table(live, reference, signs)
    if both.audited < FEWEST:
        return None
    weights = both.weights()
    each = [_table(live, reference, np.eye(len(replicates))[k]).contributions(*weights) for k in range(len(replicates))]
    return paired_difference(each[: len(first)], each[len(first) :])


@dataclass(frozen=True)
class _Table:
    """Values of both judges by unit, and where the units belong."""

    f: Floats
    """The live judge's, (units,)."""
    y: Floats
    """The reference's, (units,); NaN where a unit is not audited."""
    clusters: NDArray[Any]

    @property
    def both(self) -> NDArray[np.bool_]:
        """Which units are audited."""
        return ~np.isnan(self.y)

    @property
    def audited(self) -> int:
        """Questions with an audited unit."""
        return len(set(self.clusters[self.both].tolist()))

    @property
    def labels(self) -> Rows:
        """The reference's values."""
        return Rows(self.y[self.both], self.clusters[self.both], np.flatnonzero(self.both))

    @cached_property
    def sums(self) -> tuple[list[Any], Floats]:
        """The questions, and what a score needs of each of them, (sums, questions): sums over its units, and products.

        In this order: f, its units; y, its units; f where y is known; and four products of these for the weight. Values
        are deviations from the audited mean, which keeps the products exact.
        """
        both, order = self.both, list(dict.fromkeys(self.clusters.tolist()))
        f, y = self.f - self.f[both].mean(), self.y[both] - self.y[both].mean()
        sums_f, sizes = totals(self.clusters, f, order)
        sums_y, audited = totals(self.clusters[both], y, order)
        g, _ = totals(self.clusters[both], f[both], order)
        return order, np.stack(
            [sums_f, sizes, sums_y, audited, g, sums_y * g, g * g, sums_y * audited, g * audited, audited * audited]
        )

    def weights(self) -> tuple[Floats, Floats]:
        """The best weight of the live judge, and that without each question, (questions,)."""
        _, sums = self.sums
        whole = sums.sum(axis=1)
        return _weight(whole), _weight(whole[:, None] - sums)

    def contributions(self, weight: Floats, without: Floats) -> Rows:
        """What each question contributes to the score with `weight`, being left out with its own of `without`."""
        order, sums = self.sums
        whole = sums.sum(axis=1)
        score = self.y[self.both].mean() + _score(whole, weight)
        left_out = _score(whole[:, None] - sums, without)
        widening = stdtrit(self.audited - 1, 0.975) / stdtrit(len(order) - 1, 0.975)
        questions = np.array(order, dtype=object)
        return Rows(score + widening * (len(order) - 1) * (left_out.mean() - left_out), questions, questions)


def _weight(sums: Floats) -> Floats:
    """Cov(y, f) / Var(f) over audited questions, of each the sum of deviations, as in the clustered standard error."""
    _, _, y, audited, g, yg, gg, y_size, g_size, size2 = sums
    y_mean, g_mean = y / audited, g / audited
    covariance = yg - y_mean * g_size - g_mean * y_size + y_mean * g_mean * size2
    variance = gg - 2 * g_mean * g_size + g_mean**2 * size2
    slope = np.divide(covariance, variance, out=np.zeros_like(variance), where=variance > 1e-9 * (gg + size2))
    weight: Floats = np.clip(slope, 0, 1)
    return weight


def _score(sums: Floats, weight: Floats) -> Floats:
    f, sizes, y, audited, g, *_ = sums
    score: Floats = y / audited + weight * (f / sizes - g / audited)
    return score


def _table(live: Sequence[Rows], reference: Sequence[Rows], signs: Sequence[float] = (1.0,)) -> _Table:
    """The sums of replicates' values, each times its sign, over the units that all live rows have."""
    f, y = ([_unit_means(rows) for rows in replicates] for replicates in (live, reference))
    units = [unit for unit in f[0] if all(unit in means for means in f)]
    cluster_of = dict(zip(live[0].units.tolist(), live[0].clusters.tolist(), strict=True))
    sums_f, sums_y = (
        np.asarray(signs) @ np.array([[means.get(unit, np.nan) for unit in units] for means in of_judge])
        for of_judge in (f, y)
    )
    clusters = np.array([cluster_of[u] for u in units], dtype=object)
    return _Table(sums_f, sums_y, clusters)


def _unit_means(rows: Rows) -> dict[Any, float]:
    """By unit the mean over its repeats."""
    units = list(dict.fromkeys(rows.units.tolist()))
    sums, sizes = totals(rows.units, rows.values, units)
    return dict(zip(units, (sums / sizes).tolist(), strict=True))
