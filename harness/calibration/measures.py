"""How far a judge can be trusted: its agreement with recorded verdicts, and its biases.

Agreement is a rank correlation for ratings (Spearman's, which ignores that a judge is stricter than the other) and
Cohen's kappa, which subtracts the agreement by chance: with quadratic weights for ratings on 0..10 (Cohen 1968),
without weights for preferences (Cohen 1960). Biases are measured on the judge alone: the same answer with padding must
not win (Zheng et al. 2023, arXiv 2306.05685, section 3.3), nor may the order in which two answers are shown decide.

Arrays have an entry per verdict, NaN for a failed verdict, which counts in `total` and in no mean. Intervals are 95 %
and resample (or cluster by) questions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.seeds import derive_seed
from harness.stats.bootstrap import bootstrap_ci
from harness.stats.intervals import mean_interval
from harness.stats.spread import Floats, Rows

SPEARMAN, KAPPA, FAILED = "spearman", "kappa", "failed_verdicts"
LENGTH, FIRST_WINS = "padding_gain", "first_shown_wins"
LOWEST, HIGHEST = 0, 10
"""The scale of ratings: 1 to 10, and the 0 that some judges give all the same."""
Labels = NDArray[Any]


@dataclass(frozen=True)
class Measure:
    """A number about a judge."""

    name: str
    part: str
    """Which verdicts: `all`, `turn 1`, ..."""
    value: float | None
    """None where undefined: no verdict has a value, or a correlation with a constant."""
    low: float | None
    high: float | None
    n: int
    """Verdicts (or pairs of verdicts) with a value."""
    total: int
    """Verdicts (or pairs), failed verdicts included."""
    clusters: int
    """Questions."""


def rating_agreement(judge: Floats, reference: Floats, questions: Labels, part: str = "all") -> list[Measure]:
    """A judge's ratings against recorded ratings of the same answers, both on 0..10."""
    scored = np.isfinite(judge) & np.isfinite(reference)
    x, y, clusters, total = judge[scored], reference[scored], questions[scored], int(np.isfinite(reference).sum())

    def resampled(name: str, statistic: Callable[[Floats, Floats], float | None]) -> Measure:
        return _statistic(name, part, statistic, x, y, clusters, total)

    return [
        resampled(SPEARMAN, spearman),
        resampled("pearson", pearson),
        resampled(KAPPA, weighted_kappa),
        _mean("mean_absolute_difference", part, np.abs(x - y), clusters, total),
        _mean("mean_difference", part, x - y, clusters, total),
        _mean("exact_agreement", part, _rounded(x) == _rounded(y), clusters, total),
    ]


def preference_agreement(judge: Floats, reference: Floats, questions: Labels, part: str = "all") -> list[Measure]:
    """A judge's preferences against recorded preferences of the same pairs: 0 and 1 for the sides, 0.5 for a tie."""
    scored = np.isfinite(judge) & np.isfinite(reference)
    x, y, clusters, total = judge[scored], reference[scored], questions[scored], int(np.isfinite(reference).sum())
    return [
        _statistic(KAPPA, part, lambda a, b: kappa(_winner(a), _winner(b)), x, y, clusters, total),
        _statistic(SPEARMAN, part, spearman, x, y, clusters, total),
        _mean("exact_agreement", part, _winner(x) == _winner(y), clusters, total),
    ]


def order_agreement(
    judge: Floats, reference: Floats, questions: Labels, units: Labels, models: Labels
) -> list[Measure]:
    """Agreement on which of two models answered better, by the difference of their ratings.

    `pair_agreement` is per unit (a question's turn), over the pairs that both recorded ratings and judge decide, as in
    Zheng et al.'s setup without ties, where a coin has 0.5; `model_order` is between the models' means.
    """
    scored = np.isfinite(judge) & np.isfinite(reference)
    cell = {(u, m): k for k, (u, m) in enumerate(zip(units, models, strict=True)) if scored[k]}
    names = sorted(set(models.tolist()))
    pairs = [
        (cell[u, a], cell[u, b])
        for u in dict.fromkeys(units.tolist())
        for a, b in combinations(names, 2)
        if (u, a) in cell and (u, b) in cell
    ]
    first, second = (np.array([p[k] for p in pairs], dtype=np.intp) for k in (0, 1))
    judged, recorded = (np.sign(v[first] - v[second]) for v in (judge, reference))
    decided = (judged != 0) & (recorded != 0)
    means = {m: (judge[scored & (models == m)], reference[scored & (models == m)]) for m in names}
    sides = [
        np.sign([means[a][k].mean() - means[b][k].mean() for k in (0, 1)])
        for a, b in combinations(names, 2)
        if len(means[a][0]) and len(means[b][0])
    ]
    same = sum(int(x == y) for x, y in sides)
    share = same / len(sides) if sides else None
    return [
        _mean(
            "pair_agreement",
            "all",
            judged[decided] == recorded[decided],
            questions[first][decided],
            int((recorded != 0).sum()),
        ),
        Measure("model_order", "all", share, None, None, len(sides), len(list(combinations(names, 2))), 0),
    ]


def length_bias(plain: Floats, padded: Floats, questions: Labels) -> list[Measure]:
    """The same answers with padding that says nothing new: its gain (in verdict units), and how often it wins."""
    scored = np.isfinite(plain) & np.isfinite(padded)
    gain, clusters, total = (padded - plain)[scored], questions[scored], len(plain)
    return [
        _mean(LENGTH, "all", gain, clusters, total),
        _mean("padding_wins", "all", gain > 0, clusters, total),
        _mean("padding_loses", "all", gain < 0, clusters, total),
    ]


def order_flips(first: Floats, second: Floats, questions: Labels) -> Measure:
    """The share of pairs whose winner changes with the order in which the answers are shown.

    `first` and `second` are the preferences for the same answer when it is shown first, and when second.
    """
    scored = np.isfinite(first) & np.isfinite(second)
    flipped = _winner(first[scored]) != _winner(second[scored])
    return _mean("order_flips", "all", flipped, questions[scored], len(first))


def first_shown(preferences: Floats, questions: Labels) -> Measure:
    """The share of decided verdicts for the answer shown first; `preferences` are for that answer.

    A judge without bias has 0.5 if each pair is shown in both orders, or in an order drawn at random.
    """
    scored = np.isfinite(preferences)
    winner, clusters = _winner(preferences[scored]), questions[scored]
    decided = winner != 0
    return _mean(FIRST_WINS, "all", winner[decided] > 0, clusters[decided], len(preferences))


def failures(verdicts: Floats, questions: Labels) -> Measure:
    """The share of failed verdicts (no readable reply, or a refusal)."""
    return _mean(FAILED, "all", ~np.isfinite(verdicts), questions, len(verdicts))


def spearman(x: Floats, y: Floats) -> float | None:
    """Spearman's rank correlation; None where either is constant."""
    return pearson(_ranks(x), _ranks(y))


def _ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share their mean rank. Takes a third of scipy's `rankdata`'s time on 160 ratings."""
    _, of_value, counts = np.unique(values, return_inverse=True, return_counts=True)
    out: Floats = (np.cumsum(counts) - (counts - 1) / 2)[of_value]
    return out


def pearson(x: Floats, y: Floats) -> float | None:
    """Pearson's correlation; None where either is constant."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    a, b = x - x.mean(), y - y.mean()
    return round(float(a @ b / np.sqrt((a @ a) * (b @ b))), 12)  # so that equal resamples do not differ by rounding


def weighted_kappa(x: Floats, y: Floats) -> float | None:
    """Cohen's kappa with quadratic weights of ratings, rounded to 0..10; None if all ratings of both are equal.

    1 - sum (x - y)^2 / sum over all pairs (x_i - y_j)^2 / n: with quadratic weights the table need not be built.
    """
    if not len(x):
        return None
    a, b = _rounded(x), _rounded(y)
    chance = a.var() + b.var() + (a.mean() - b.mean()) ** 2
    return None if chance == 0 else float(1 - ((a - b) ** 2).mean() / chance)


def kappa(x: Floats, y: Floats) -> float | None:
    """Cohen's kappa of labels; None if both judges give the same label to all."""
    if not len(x):
        return None
    labels = np.union1d(x, y)
    chance = float(sum((x == k).mean() * (y == k).mean() for k in labels))
    return None if chance == 1 else float(((x == y).mean() - chance) / (1 - chance))


def _rounded(ratings: Floats) -> Floats:
    """Ratings rounded half up (numpy would round both 6.5 and 5.5 to 6)."""
    out: Floats = np.clip(np.floor(ratings + 0.5), LOWEST, HIGHEST)
    return out


def _winner(preference: Floats) -> Floats:
    """1 for one side, -1 for the other, 0 for a tie."""
    out: Floats = np.sign(preference - 0.5)
    return out


def _statistic(
    name: str,
    part: str,
    statistic: Callable[[Floats, Floats], float | None],
    x: Floats,
    y: Floats,
    clusters: Labels,
    total: int,
) -> Measure:
    """A statistic of paired verdicts with its bootstrap interval.

    On a resample that leaves it undefined (all its ratings are equal) it counts as 0, no agreement.
    """
    value, bounds = statistic(x, y), None
    if value is not None:
        seed = derive_seed("calibration", name, part)
        bounds = bootstrap_ci(clusters, lambda rows: statistic(x[rows], y[rows]) or 0.0, seed=seed)
    low, high = bounds or (None, None)
    return Measure(name, part, value, low, high, len(x), total, len(set(clusters.tolist())))


def _mean(name: str, part: str, values: NDArray[Any], clusters: Sequence[Any] | Labels, total: int) -> Measure:
    """A mean (of booleans: a share) with its clustered interval."""
    rows = Rows(values.astype(np.float64), np.asarray(clusters), np.arange(len(values)))
    interval = mean_interval([rows], proportion=values.dtype == np.bool_)
    if interval is None:
        return Measure(name, part, None, None, None, 0, total, 0)
    return Measure(name, part, interval.value, interval.low, interval.high, len(values), total, interval.clusters)
