"""The smallest difference that a comparison could have detected, and how much data would detect the observed one.

The minimum detectable effect is the true difference that the test finds with 80 % probability. With standard error
se and df degrees of freedom it is (t[0.975, df] + t[0.80, df]) se (Bloom 1995, *Minimum detectable effects*). As the
test is the strictest of the spread's terms, the effect is the largest over them. It answers a question that a
non-significant p leaves open: was there no difference, or too little data to see it? If p is corrected for many tests,
use the level that the correction applied (`multiplicity.holm_level`).
"""

from bisect import bisect_left
from collections.abc import Callable

from harness.stats.distributions import t_quantile
from harness.stats.spread import SeedTerm, Spread, Term

_MOST_SEEDS = 100
_MOST_ITEMS = 100_000


def minimum_detectable_effect(spread: Spread, power: float = 0.8, level: float = 0.95) -> float | None:
    """The smallest true difference found with probability `power`; None where no test is possible."""
    effects = [_effect(t, power, level) for t in spread.candidates() if t.variance > 0]
    return max(effects, default=None)


def _effect(term: Term, power: float, level: float) -> float:
    both = t_quantile(term.df, (1 + level) / 2) + t_quantile(term.df, power)
    return float(both * term.variance**0.5)


def seeds_needed(effect: float, spread: Spread, level: float = 0.95) -> int | None:
    """Seeds per group at which `effect` would be the minimum detectable effect; None if no number of seeds is enough.

    Also None if each group has a single seed, so that the variance between seeds is unknown.
    """
    if not spread.seeds or spread.items is None:
        return None
    start = int(max(s.raw.df for s in spread.seeds)) + 1
    return _fewest(lambda n: _enough(effect, _with_seeds(spread, n), level), start, _MOST_SEEDS)


def items_needed(effect: float, spread: Spread, level: float = 0.95) -> int | None:
    """Clusters (questions) at which `effect` would be the minimum detectable effect; None if no number is enough."""
    if spread.items is None:
        return None
    start = int(spread.items.df) + 1
    return _fewest(lambda n: _enough(effect, _with_items(spread, n), level), start, _MOST_ITEMS)


def _fewest(enough: Callable[[int], bool], start: int, most: int) -> int | None:
    """By bisection, a number n from `start` to `most` that is enough while n - 1 is not; None if `most` is not enough.

    It is the smallest number that is enough, but in rare cases: Satterthwaite's degrees of freedom may fall as seeds
    are added.
    """
    if start > most or not enough(most):
        return None
    return bisect_left(range(start, most), True, key=enough) + start


def _enough(effect: float, spread: Spread, level: float) -> bool:
    detectable = minimum_detectable_effect(spread, level=level)
    return detectable is not None and detectable <= abs(effect)


def _with_seeds(spread: Spread, seeds: int) -> Spread:
    """The spread as it would be with `seeds` seeds in every group that has a seed level."""
    assert spread.items is not None
    item_df, variance, terms = spread.items.df, spread.items.variance, []
    for term in spread.seeds:
        shrink = (term.raw.df + 1) / seeds
        variance -= term.noise.variance * (1 - shrink)
        noise = Term(term.noise.variance * shrink, (seeds - 1) * item_df)
        terms.append(SeedTerm(Term(term.raw.variance * shrink, seeds - 1), noise))
    return Spread(Term(max(variance, 0.0), item_df), tuple(terms))


def _with_items(spread: Spread, items: int) -> Spread:
    """The spread as it would be with `items` clusters."""
    assert spread.items is not None
    shrink, terms = (spread.items.df + 1) / items, []
    for term in spread.seeds:
        noise = Term(term.noise.variance * shrink, term.raw.df * (items - 1))
        seed_variance = max(0.0, term.raw.variance - term.noise.variance)
        terms.append(SeedTerm(Term(seed_variance + noise.variance, term.raw.df), noise))
    return Spread(Term(spread.items.variance * shrink, items - 1), tuple(terms))
