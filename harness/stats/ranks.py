"""How well a prediction ranks outcomes: rank correlations, pairwise accuracy, the top pick.

Every statistic is a function of `sign(a_i - a_j)` over pairs of items, so ties need no special case: tied values share
their mean rank (Spearman), leave tau-b's denominator (Kendall), and a tie in the prediction earns half credit (pairwise
accuracy). All functions work on the last axis and broadcast over leading axes, so that a bootstrap is a single call
with many predictions (R, n) or many `weights` (R, n), the number of times that each item was drawn. Two draws of an
item are a tie in prediction and outcome, and count for nothing. Values must be finite. An undefined result (a constant
ranking) is NaN.
"""

import numpy as np
from numpy.typing import ArrayLike

from harness.stats.spread import Floats


def spearman(predicted: ArrayLike, outcome: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Spearman's rank correlation, tied values at their mean rank: (..., n), (..., n) -> (...)."""
    w = _weights(outcome, weights)
    x, y = _centred_ranks(predicted, w), _centred_ranks(outcome, w)
    return _ratio((w * x * y).sum(-1), np.sqrt((w * x * x).sum(-1) * (w * y * y).sum(-1)))


def kendall(predicted: ArrayLike, outcome: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Kendall's tau-b: (..., n), (..., n) -> (...)."""
    w = _weights(outcome, weights)
    x, y = _signs(predicted), _signs(outcome)
    return _ratio(_over_pairs(x * y, w), np.sqrt(_over_pairs(x * x, w) * _over_pairs(y * y, w)))


def partial_spearman(
    predicted: ArrayLike, outcome: ArrayLike, control: ArrayLike, weights: ArrayLike | None = None
) -> Floats:
    """Spearman's partial correlation given the ranks of `control`; NaN if these determine either ranking."""
    xy, xz, yz = (
        spearman(a, b, _weights(outcome, weights))
        for a, b in ((predicted, outcome), (predicted, control), (outcome, control))
    )
    left = (1 - xz**2) * (1 - yz**2)
    return _ratio(xy - xz * yz, np.sqrt(np.where(left > 1e-12, left, 0.0)))


def pairwise_accuracy(
    predicted: ArrayLike, outcome: ArrayLike, weights: ArrayLike | None = None, groups: ArrayLike | None = None
) -> Floats:
    """The share of pairs with different outcomes that the prediction orders rightly, in [0, 1].

    A pair that the prediction ties counts half (Harrell's concordance index). A pair with equal outcomes has no right
    order and is not counted. With `groups` (n,) only pairs inside a group count.
    """
    w = _weights(outcome, weights)
    x, y = _signs(predicted), _signs(outcome)
    inside = 1.0 if groups is None else np.equal.outer(np.asarray(groups), np.asarray(groups)).astype(np.float64)
    return (1 + _ratio(_over_pairs(x * y * inside, w), _over_pairs(y * y * inside, w))) / 2


def top_1(predicted: ArrayLike, outcome: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """The chance that the item predicted best has the best outcome; a tie in the prediction is broken at random."""
    y, w = np.asarray(outcome, dtype=np.float64), _weights(outcome, weights)
    return _over_picks(predicted, w, y == _best(y, w))


def regret_at_1(predicted: ArrayLike, outcome: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """The best outcome minus the outcome of the item predicted best, in the outcome's unit (GRACE, arXiv 2511.02833).

    A tie in the prediction is broken at random: the mean over the tied items.
    """
    y, w = np.asarray(outcome, dtype=np.float64), _weights(outcome, weights)
    return _over_picks(predicted, w, _best(y, w) - y)


def draw_weights(n: int, resamples: int, seed: int) -> Floats:
    """(resamples, n) how often each of n items is drawn when n are drawn with replacement."""
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    return draws.astype(np.float64)


def _weights(like: ArrayLike, weights: ArrayLike | None) -> Floats:
    return np.ones(np.shape(like)[-1]) if weights is None else np.asarray(weights, dtype=np.float64)


def _signs(values: ArrayLike) -> Floats:
    v = np.asarray(values, dtype=np.float64)
    return np.asarray(np.sign(v[..., :, None] - v[..., None, :]), dtype=np.float64)


def _over_pairs(matrix: Floats, w: Floats) -> Floats:
    return np.asarray(np.einsum("...i,...ij,...j->...", w, matrix, w), dtype=np.float64)


def _centred_ranks(values: ArrayLike, w: Floats) -> Floats:
    """Twice the distance of each item's (mid)rank from the mean rank."""
    return np.asarray(np.einsum("...ij,...j->...i", _signs(values), w), dtype=np.float64)


def _best(values: Floats, w: Floats) -> Floats:
    """(..., 1) the highest value among the drawn items."""
    return np.asarray(np.where(w > 0, values, -np.inf).max(-1, keepdims=True), dtype=np.float64)


def _over_picks(predicted: ArrayLike, w: Floats, values: ArrayLike) -> Floats:
    """(...) the mean of `values` over the items predicted best."""
    x = np.asarray(predicted, dtype=np.float64)
    picked = w * (x == _best(x, w))
    return _ratio((picked * np.where(picked > 0, values, 0.0)).sum(-1), picked.sum(-1))


def _ratio(top: Floats, bottom: Floats) -> Floats:
    undefined = np.full(np.broadcast_shapes(np.shape(top), np.shape(bottom)), np.nan)
    return np.asarray(np.divide(top, bottom, out=undefined, where=bottom > 0), dtype=np.float64)
