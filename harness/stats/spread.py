"""The uncertainty of a mean by its sources: which questions were asked, and which training seeds were drawn.

A sweep's score is a table, seeds x questions, and both margins are samples: other questions could have been asked,
other seeds drawn. With the crossed model  y[s, i] = mu + seed[s] + item[i] + noise[s, i]  the variance of the grand
mean is  var(seed)/S + var(item)/I + var(noise)/(S I), and the mean squares of the table estimate its parts:

- items: the variance over items of the seed-averaged values, over I; it holds var(item)/I + var(noise)/(S I);
- seeds: the variance over seeds of the item-averaged values, over S; it holds var(seed)/S + var(noise)/(S I);
- noise: the interaction mean square over S I; both other parts hold it, so the sum subtracts it from the seed part
  (never below zero).

The sum has an approximate t distribution with Satterthwaite's degrees of freedom (1946; for crossed tables see Searle,
Casella & McCulloch, *Variance Components*, ch. 5). With 2 or 3 seeds that approximation is too narrow: a seed variance
estimated with two degrees of freedom is often far too small. So three intervals are computed, each right when its part
dominates (items alone with I-1 degrees of freedom, seeds alone with S-1, the sum with Satterthwaite's), and the widest
is used. Measured coverage, `results/reference/statistics/coverage.md`: 95 to 96 % from 3 seeds up, 95 to 98 % with 2.

A difference of two groups has the same form. Items are paired: the item part is the variance of the differences. Seeds
are not paired (seed 0 of a method has nothing to do with seed 0 of another), so each group adds its seed part and the
degrees of freedom are Welch's.

With draws (a recipe's `draws`) the level above the questions is the draw, in which data, teacher and training are made
anew together:  y[d, s, i] = mu + draw[d] + seed[d, s] + item[i] + noise[d, s, i].  The seeds within a draw are averaged
first, and draws take the place of seeds in all of the above: they are the sample, of D values, not of D S. Two groups
that share draws are paired by draw too, since in a draw both learn from the same teacher and data: the table is that of
the differences, draws x items, and one draw part with D - 1 degrees of freedom takes the place of two. What the seeds
within draws contribute can be told from the rest (`within`). Teacher, data and training of a draw cannot be told from
each other: that takes draws `of` one of them, the others held. Measured coverage of pairs by draw,
`results/reference/statistics/draws.md`: 94 to 99 % with 2 to 10 draws, whatever share of the variance they have.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.stats.distributions import t_quantile

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """The scored samples of a replicate (a seed of a cell); arrays have an entry per row."""

    values: Floats
    clusters: NDArray[Any]
    """Labels of the rows that are resampled together, e.g. both turns' question."""
    units: NDArray[Any]
    """Labels by which rows are paired across cells, e.g. (question, turn); repeats share a unit."""
    draw: str = ""
    """The draw that the replicate belongs to; the same for all replicates where nothing but their seeds differs."""

    def where(self, kept: NDArray[np.bool_]) -> "Rows":
        """Some of the rows."""
        return Rows(self.values[kept], self.clusters[kept], self.units[kept], self.draw)


@dataclass(frozen=True)
class Term:
    """A piece of a mean's variance and its degrees of freedom."""

    variance: float
    df: float

    def half_width(self, level: float = 0.95) -> float:
        """Half the width of the t interval of this term alone."""
        return float(t_quantile(self.df, (1 + level) / 2) * np.sqrt(self.variance))


@dataclass(frozen=True)
class SeedTerm:
    """The seed part of a group, and the noise within it, which the item part counts already."""

    raw: Term
    noise: Term


@dataclass(frozen=True)
class Spread:
    """The parts of a mean's (or a difference's) variance."""

    items: Term | None
    """None with a single cluster, which tells nothing about other questions."""
    seeds: tuple[SeedTerm, ...] = field(default=())
    """A term per group with at least two seeds, or draws; a single seed tells nothing about other seeds. A single term
    for two groups that are paired by draw."""
    within: float = 0.0
    """Of the terms' variance, what comes from seeds within draws."""

    def shares(self) -> dict[str, float]:
        """The variance of the mean by where it comes from: `questions` and `replicates` (seeds, or draws); of draws
        that hold several seeds, `seeds` too, which is then no part of `replicates`."""
        noise = sum(s.noise.variance for s in self.seeds)
        parts = {"questions": max(0.0, self.items.variance - noise)} if self.items else {}
        if not self.seeds:
            return parts
        replicates = sum(s.raw.variance for s in self.seeds)
        if not self.within:
            return parts | {"replicates": replicates}
        return parts | {"seeds": min(self.within, replicates), "replicates": max(0.0, replicates - self.within)}

    def candidates(self) -> list[Term]:
        """The terms whose intervals are compared; the widest is used."""
        terms = [self.items] if self.items else []
        if self.seeds:
            terms.append(_welch([s.raw for s in self.seeds]))
        if self.items and self.seeds:
            terms.append(self._sum(self.items))
        return terms

    def _sum(self, items: Term) -> Term:
        variance, uncertainty = items.variance, items.variance**2 / items.df
        for seed in self.seeds:
            extra = seed.raw.variance - seed.noise.variance
            if extra > 0:
                variance += extra
                uncertainty += seed.raw.variance**2 / seed.raw.df + seed.noise.variance**2 / seed.noise.df
        return Term(variance, max(1.0, variance**2 / uncertainty) if uncertainty > 0 else items.df)

    def widest(self, level: float = 0.95) -> Term | None:
        """The term with the widest t interval; None without any term."""
        return max(self.candidates(), key=lambda t: t.half_width(level), default=None)


def _welch(terms: Sequence[Term]) -> Term:
    """Sum of independent variances with Welch's degrees of freedom."""
    variance = sum(t.variance for t in terms)
    uncertainty = sum(t.variance**2 / t.df for t in terms)
    return Term(variance, variance**2 / uncertainty if uncertainty > 0 else sum(t.df for t in terms))


def cluster_table(replicates: Sequence[Rows]) -> Floats:
    """Seeds x clusters: each cluster's influence on its replicate's mean, over the clusters that all replicates share.

    Each row averages to the replicate's mean over rows, and its variance over clusters is the cluster-robust
    (sandwich) variance of that mean, also when clusters have unequal numbers of rows.
    """
    shared = shared_clusters(replicates)
    return np.array([_influence(r, shared) for r in replicates], dtype=np.float64).reshape(len(replicates), len(shared))


def draws_of(replicates: Sequence[Rows]) -> list[str]:
    """The draws that these replicates belong to, in the order in which they come."""
    return list(dict.fromkeys(r.draw for r in replicates))


def by_draw(table: Floats, replicates: Sequence[Rows], draws: Sequence[str]) -> Floats:
    """Draws x clusters: the mean over each draw's replicates. With a single draw its replicates as they are."""
    if len(draws) < 2:
        return table
    mine = np.array([r.draw for r in replicates])
    return np.array([table[mine == draw].mean(axis=0) for draw in draws])


def within_draws(table: Floats, replicates: Sequence[Rows], draws: Sequence[str]) -> float:
    """What the seeds within draws add to the variance of the mean over draws; 0 without several draws and seeds."""
    mine, means = np.array([r.draw for r in replicates]), table.mean(axis=1)
    seeds = [means[mine == draw] for draw in draws]
    parts = [float(s.var(ddof=1)) / len(s) for s in seeds if len(s) > 1]
    return float(np.mean(parts)) / len(draws) if parts and len(draws) > 1 else 0.0


def shared_clusters(replicates: Sequence[Rows]) -> list[Any]:
    """The clusters that all replicates have, in the order of `cluster_table`."""
    return sorted(set.intersection(*(set(r.clusters.tolist()) for r in replicates)), key=str)


def per_unit(rows: Rows, units: Set[Any]) -> Rows:
    """A row for each of `units`, all of which `rows` have: the mean over its repeats."""
    order = sorted(units, key=str)
    sums, sizes = totals(rows.units, rows.values, order)
    cluster_of = dict(zip(rows.units.tolist(), rows.clusters.tolist(), strict=True))
    return Rows(sums / sizes, np.array([cluster_of[u] for u in order]), np.array(order, dtype=object), rows.draw)


def totals(labels: NDArray[Any], values: Floats, order: Sequence[Any]) -> tuple[Floats, Floats]:
    """Sums of `values` and numbers of rows by label, for the labels in `order`; rows with other labels are left out."""
    position = {label: k for k, label in enumerate(order)}
    index = np.array([position.get(label, -1) for label in labels.tolist()], dtype=np.intp)
    inside = index >= 0
    sums, sizes = (np.bincount(index[inside], weights=w, minlength=len(order)) for w in (values[inside], None))
    return sums.astype(np.float64), sizes.astype(np.float64)


def _influence(rows: Rows, shared: Sequence[Any]) -> Floats:
    sums, sizes = totals(rows.clusters, rows.values, shared)
    mean = sums.sum() / max(1.0, sizes.sum())
    out: Floats = np.asarray(mean + (sums - sizes * mean) * len(shared) / max(1.0, sizes.sum()), dtype=np.float64)
    return out


def group_spread(tables: Sequence[Floats]) -> Spread:
    """The spread of the mean of a seeds x clusters table, or of the difference of two tables with the same clusters.

    Draws may stand in the place of seeds.
    """
    clusters = tables[0].shape[1]
    averaged = tables[0].mean(axis=0) - (tables[1].mean(axis=0) if len(tables) == 2 else 0.0)
    items = Term(_variance(averaged) / clusters, clusters - 1) if clusters > 1 else None
    return Spread(items, tuple(_seed_term(t) for t in tables if t.shape[0] > 1))


def _variance(values: Floats) -> float:
    """Unbiased variance; exactly 0 where values differ only by rounding, so that rounding is never tested."""
    return float(values.var(ddof=1)) if np.ptp(values) > 1e-12 * max(1.0, float(np.abs(values).max())) else 0.0


def _seed_term(table: Floats) -> SeedTerm:
    seeds, clusters = table.shape
    raw = Term(_variance(table.mean(axis=1)) / seeds, seeds - 1)
    residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    df = max(1, (seeds - 1) * (clusters - 1))
    return SeedTerm(raw, Term(float((residual**2).sum()) / df / (seeds * clusters), df))
