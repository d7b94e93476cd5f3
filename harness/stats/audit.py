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
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.stats.distributions import t_quantile
from harness.stats.intervals import Difference, Interval, mean_interval, paired_difference
from harness.stats.spread import Floats, Rows, cluster_table, per_unit, shared_clusters

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

    A question counts as audited where both judges have a value. Each judge's mean is over rows, so that battles that
    count three times do so here, and what is averaged is each question's influence on that mean (`cluster_table`).
    """
    table = _table([judged.live], [judged.reference])
    if table is None:
        return None
    weights = _weights(table.sums([1.0]))
    contributions = table.contributions(table.sums([1.0]), *weights)
    interval, alone = mean_interval([contributions]), mean_interval([table.labels])
    assert interval is not None, "there are questions"
    assert alone is not None, "some are audited"
    return Audited(interval, alone, float(table.live.mean()), float(weights[0]), table.audited, contributions)


def audited_difference(first: Sequence[Judged], second: Sequence[Judged]) -> Difference | None:
    """The audited difference of two models: the mean of `first` minus that of `second`, replicates (seeds) of each.

    It is paired over the units that all replicates have, and audited over those that the reference has judged in all.
    None with fewer than `FEWEST` audited questions.
    """
    replicates = [*first, *second]
    if not first or not second:
        return None
    live, reference = (_paired([getattr(r, judge) for r in replicates]) for judge in ("live", "reference"))
    table = _table(live, reference)
    if table is None:
        return None
    signs = [1 / len(first)] * len(first) + [-1 / len(second)] * len(second)
    weights = _weights(table.sums(signs))
    each = [
        replace(table.contributions(table.sums(alone), *weights), draw=judged.live.draw)
        for alone, judged in zip(np.eye(len(replicates)), replicates, strict=True)
    ]
    return paired_difference(each[: len(first)], each[len(first) :])


def _paired(replicates: Sequence[Rows]) -> list[Rows]:
    """The rows of units that all replicates have, a row for each."""
    shared = set.intersection(*(set(rows.units.tolist()) for rows in replicates))
    return [per_unit(rows, shared) for rows in replicates]


@dataclass(frozen=True)
class _Table:
    """Each question's influence on the mean of each replicate, by both judges."""

    questions: NDArray[Any]
    """Labels, (questions,): those that all live rows have."""
    places: NDArray[np.intp]
    """Which of them are audited, (audited,)."""
    live: Floats
    """(replicates, questions)"""
    reference: Floats
    """(replicates, audited)"""

    @property
    def audited(self) -> int:
        """Number of audited questions."""
        return len(self.places)

    @property
    def labels(self) -> Rows:
        """The first replicate's values by the reference, a row for each audited question."""
        return Rows(self.reference[0], self.places, self.places)

    def sums(self, signs: Sequence[float] | Floats) -> Floats:
        """What a score needs of each question, (sums, questions), of the sum of replicates, each times its sign.

        In this order: 1, f; and where it is audited, else 0: 1, y, f, y f and f f. The mean of f is taken from it,
        which changes no score and keeps the products exact.
        """
        f, y = np.asarray(signs) @ self.live, np.zeros(len(self.questions))
        f -= f[self.places].mean()
        y[self.places] = np.asarray(signs) @ self.reference
        audited = np.isin(np.arange(len(f)), self.places).astype(np.float64)
        return np.stack([np.ones(len(f)), f, audited, y, audited * f, y * f, audited * f * f])

    def contributions(self, sums: Floats, weight: Floats, without: Floats) -> Rows:
        """What each question contributes to the score with `weight`, being left out with its element of `without`."""
        whole, n = sums.sum(axis=1, keepdims=True), len(self.questions)
        left_out = estimate(whole - sums, without)
        widening = t_quantile(self.audited - 1, 0.975) / t_quantile(n - 1, 0.975)
        values = estimate(whole, weight) + widening * (n - 1) * (left_out.mean() - left_out)
        return Rows(values, self.questions, self.questions)


def _table(live: Sequence[Rows], reference: Sequence[Rows]) -> _Table | None:
    """The replicates' influences; None with fewer than `FEWEST` audited questions."""
    questions = shared_clusters(live)
    asked = set(questions)
    kept = [r.where(np.array([c in asked for c in r.clusters.tolist()], dtype=bool)) for r in reference]
    position = {question: place for place, question in enumerate(questions)}
    places = np.array([position[question] for question in shared_clusters(kept)], dtype=np.intp)
    if len(places) < FEWEST:
        return None
    return _Table(np.array(questions, dtype=object), places, cluster_table(live), cluster_table(kept))


def _weights(sums: Floats) -> tuple[Floats, Floats]:
    """The best weight of the live judge, and that without each question, (questions,)."""
    whole = sums.sum(axis=1, keepdims=True)
    return best_weight(whole)[0], best_weight(whole - sums)


def best_weight(sums: Floats) -> Floats:
    """Cov(y, f) / Var(f) over the labels, held in [0, 1], (k,); 0 where f does not vary.

    `sums` (7, k): of all answers their number and f; of the labels their number, y, f, y f and f f.
    """
    _, _, audited, y, g, yg, gg = sums
    covariance, variance = yg - y * g / audited, gg - g * g / audited
    slope = np.divide(covariance, variance, out=np.zeros_like(variance), where=variance > 1e-9 * (gg + audited))
    weight: Floats = np.clip(slope, 0, 1)
    return weight


def estimate(sums: Floats, weight: Floats) -> Floats:
    """The score with each weight, (k,), of sums as `best_weight` takes them."""
    size, f, audited, y, g, *_ = sums
    score: Floats = y / audited + weight * (f / size - g / audited)
    return score
