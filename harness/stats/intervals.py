"""Intervals for means and paired differences of rows that come in clusters, from several seeds, or both.

With a single replicate this is the clustered t interval: the cluster-robust standard error of Miller, *Adding Error
Bars to Evals* (arXiv 2411.00640), but with the t quantile at clusters - 1 degrees of freedom, because Miller's 1.96 is
too narrow for a category of 10 questions. With several seeds, or draws, their part is added: see `spread`. Repeats and
turns are rows of their question's cluster, so a mean is the mean over rows, as in FastChat.

Why t and not a bootstrap: at 10 clusters the percentile and BCa bootstraps cover 91 %, t 96 %; at 80 they are close
(measured in `results/reference/statistics/coverage.md`). `bootstrap` is for statistics that are no means.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.stats.distributions import t_below, t_quantile
from harness.stats.spread import (
    Floats,
    Rows,
    Spread,
    Term,
    by_draw,
    cluster_table,
    draws_of,
    group_spread,
    per_unit,
    within_draws,
)


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval; bounds and standard error are None where they are unknown."""

    value: float
    low: float | None
    high: float | None
    stderr: float | None
    df: float | None
    seeds: int
    clusters: int


@dataclass(frozen=True)
class Difference:
    """A paired difference: the first group minus the second."""

    value: float
    low: float | None
    high: float | None
    stderr: float | None
    df: float | None
    p: float | None
    """Two-sided, against no difference; the 95 % interval excludes 0 exactly when p < 0.05."""
    seeds: tuple[int, int]
    clusters: int
    """Clusters that both groups share."""
    spread: Spread
    draws: int = 0
    """Draws by which the groups are paired; 0 where they are not."""
    new_draw: tuple[float, float] | None = None
    """The 95 % prediction interval: where the difference of one more draw, on these questions, is expected."""


FEW_HITS = 10
"""Hits (or misses) in a sample below which a rate's own spread says too little: with no win among 50 instructions a
length-controlled rate seems certain. Coverage: `results/reference/statistics/length_control_low.md`."""


def mean_interval(
    replicates: Sequence[Rows], level: float = 0.95, proportion: bool = False, rate: bool = False
) -> Interval | None:
    """The mean over replicates of the mean over rows; None when a replicate has no rows. Seeds of a draw are averaged
    first.

    `proportion` says that every value is 0 or 1: the interval is then Wilson's, which stays inside [0, 1] and is
    honest near its ends, where a t interval is far too narrow (at 0 of 80 it has no width at all). `rate` says that the
    mean is a share in 0..1 though the values are not 0 or 1: with fewer than FEW_HITS hits or misses its interval is
    Wilson's too, no narrower than that of as many hits and misses as there are clusters.
    """
    if not replicates or any(len(r.values) == 0 for r in replicates):
        return None
    draws = draws_of(replicates)
    means = draw_means([float(r.values.mean()) for r in replicates], [r.draw for r in replicates])
    value = float(np.mean(list(means.values())))
    table = by_draw(cluster_table(replicates), replicates, draws)
    clusters = table.shape[1]
    term = group_spread([table]).widest(level) if clusters else None
    stderr = float(np.sqrt(term.variance)) if term else None
    few = rate and min(value, 1 - value) * clusters < FEW_HITS
    low, high = _bounds(value, term, clusters, level, most=clusters if few else np.inf if proportion else None)
    return Interval(value, low, high, stderr, term.df if term else None, len(replicates), clusters)


def draw_means(values: Sequence[float], draws: Sequence[str]) -> dict[str, float]:
    """Draw -> the mean of its replicates, from a value and a draw for each replicate."""
    of_draw: dict[str, list[float]] = {}
    for value, draw in zip(values, draws, strict=True):
        of_draw.setdefault(draw, []).append(value)
    return {draw: float(np.mean(seeds)) for draw, seeds in of_draw.items()}


def shared_draws(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """The draws by which two groups are paired; none unless both were drawn several times and share two draws."""
    shared = [draw for draw in first if draw in second]
    return shared if len(shared) > 1 else []


def _bounds(
    value: float, term: Term | None, clusters: int, level: float, most: float | None
) -> tuple[float | None, float | None]:
    """Wilson's at an effective size of at most `most`; the t interval's without it."""
    if term is None:
        return None, None
    half = term.half_width(level)
    if most is not None:
        return wilson(value, half, clusters, level, most)
    # Equal values show no spread, but that does not mean that the mean is certain.
    return (value - half, value + half) if half > 0 else (None, None)


def wilson(
    share: float, half_width: float, clusters: int, level: float = 0.95, most: float = np.inf
) -> tuple[float, float]:
    """Wilson's score interval at the effective sample size that a clustered t interval of `half_width` implies.

    The effective size is Korn & Graubard's (1998), but at most `most`; where the share is 0 or 1 it is the number of
    clusters.
    """
    spread, quantile = share * (1 - share), float(t_quantile(max(1, clusters - 1), (1 + level) / 2))
    k = max(half_width**2 / spread, quantile**2 / most) if spread > 0 and half_width > 0 else quantile**2 / clusters
    centre, reach = share + k / 2, np.sqrt(k * spread + k**2 / 4)
    return max(0.0, float((centre - reach) / (1 + k))), min(1.0, float((centre + reach) / (1 + k)))


def paired_difference(first: Sequence[Rows], second: Sequence[Rows], level: float = 0.95) -> Difference | None:
    """Mean of `first` minus mean of `second` over the units of every replicate of both; None without such units.

    Pairing removes the questions' difficulty, which is most of the variance between two models. Repeats of a unit are
    averaged first. Groups that share several draws are paired by draw, too, and draws that only a single group has are
    left out. Seeds are independent between the groups.
    """
    paired = shared_draws(draws_of(first), draws_of(second))
    groups = [[r for r in group if not paired or r.draw in paired] for group in (first, second)]
    shared = set.intersection(*(set(r.units.tolist()) for group in groups for r in group)) if all(groups) else set()
    if not shared:
        return None
    tables, within = [], 0.0
    for group in groups:
        draws, table = paired or draws_of(group), cluster_table([per_unit(r, shared) for r in group])
        tables.append(by_draw(table, group, draws))
        within += within_draws(table, group, draws)
    value = float(tables[0].mean() - tables[1].mean())
    spread = replace(group_spread([tables[0] - tables[1]] if paired else tables), within=within)
    term = spread.widest(level)
    p = p_value(value, spread)
    known = term is not None and p is not None
    half = term.half_width(level) if term and known else None
    return Difference(
        value=value,
        low=None if half is None else value - half,
        high=None if half is None else value + half,
        stderr=float(np.sqrt(term.variance)) if term and known else None,
        df=term.df if term and known else None,
        p=p,
        seeds=(len(groups[0]), len(groups[1])),
        clusters=tables[0].shape[1],
        spread=spread,
        draws=len(paired),
        new_draw=prediction(tables[0].mean(axis=1) - tables[1].mean(axis=1)) if paired else None,
    )


def prediction(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """Where one more value of a normal sample of at least two is expected: mean +- t s sqrt(1 + 1/n)."""
    n = len(values)
    half = float(t_quantile(n - 1, (1 + level) / 2) * values.std(ddof=1) * np.sqrt(1 + 1 / n))
    return float(values.mean()) - half, float(values.mean()) + half


def p_value(value: float, spread: Spread) -> float | None:
    """Two-sided p for a true mean of 0: the largest over the spread's terms, as the interval is the widest.

    None if no test is possible because no term varies: all differences are equal but not 0, or there is a single
    cluster and a single seed.
    """
    terms = [t for t in spread.candidates() if t.variance > 0]
    if not terms:
        return 1.0 if abs(value) < 1e-12 and spread.items is not None else None
    return max(float(2 * t_below(t.df, -abs(value) / np.sqrt(t.variance))) for t in terms)
