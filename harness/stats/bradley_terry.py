"""Bradley-Terry strengths from pairwise wins: P(i beats j) = 1 / (1 + exp(s_j - s_i)).

The maximum-likelihood fit of Zermelo (1929) and Bradley & Terry (1952); it is logistic regression on battles without an
intercept. A tie is half a win for each side. The strengths are known up to a constant, so one player is the anchor.

A finite maximum exists for players that each beat the other at least indirectly (Ford 1957: the graph of wins is
strongly connected). A player that only won, or only lost, against the rest has no finite strength.

For players that met only the anchor, as in Arena-Hard, the fit has a closed form: the predicted win rate is the
player's share of wins, because the likelihood's derivative is wins minus battles times predicted win rate.
"""

import numpy as np

from harness.stats.distributions import logistic
from harness.stats.spread import Floats

_TOLERANCE = 1e-10


def bradley_terry(wins: Floats, anchor: int = 0) -> Floats:
    """Natural-log strengths (players,) relative to the anchor's, which is 0; NaN where no strength is finite.

    `wins[i, j]` counts i's wins over j, with fractions for ties and weights. The fit is over the players that are
    strongly connected with the anchor, because battles with others do not bound their strength.

    Raises:
        ValueError: `wins` is no square matrix of finite counts from 0 up.
    """
    if wins.ndim != 2 or wins.shape[0] != wins.shape[1] or not np.isfinite(wins).all() or (wins < 0).any():
        raise ValueError("wins must be a square matrix of finite counts from 0 up")
    from scipy.sparse import csgraph  # here, like the optimiser: planning fits nothing

    _, component = csgraph.connected_components(wins > 0, connection="strong")
    inside = np.flatnonzero(component == component[anchor])
    battled = wins[np.ix_(inside, inside)] / max(wins.max(), 1.0)
    free = inside != anchor
    strengths = np.full(len(wins), np.nan)
    strengths[anchor] = 0.0
    if free.any():
        strengths[inside[free]] = _fit(battled, free)
    return strengths


def _fit(wins: Floats, free: np.ndarray) -> Floats:
    """The free players' strengths, with the others fixed at 0, by trust-region Newton steps on the likelihood."""
    battles = wins + wins.T

    def spread_out(x: Floats) -> Floats:
        strengths = np.zeros(len(wins))
        strengths[free] = x
        return strengths[:, None] - strengths[None, :]

    def loss(x: Floats) -> float:
        return float((wins * np.logaddexp(0, -spread_out(x))).sum())

    def gradient(x: Floats) -> Floats:
        out: Floats = (battles * logistic(spread_out(x)) - wins).sum(axis=1)[free]
        return out

    def hessian(x: Floats) -> Floats:
        chance = logistic(spread_out(x))
        weight = battles * chance * (1 - chance)
        out: Floats = (np.diag(weight.sum(axis=1)) - weight)[np.ix_(free, free)]
        return out

    start = np.zeros(int(free.sum()))
    from scipy import optimize

    optimum = optimize.minimize(
        loss, start, jac=gradient, hess=hessian, method="trust-exact", options={"gtol": _TOLERANCE}
    )
    # Near the maximum rounding hides differences of the loss but not of its gradient, hence a last plain Newton step.
    out: Floats = optimum.x - np.linalg.solve(hessian(optimum.x), gradient(optimum.x))
    return out


def elo(strengths: Floats, *, scale: float = 400.0, base: float = 10.0, anchor_rating: float = 1000.0) -> Floats:
    """Strengths on the Elo scale: `scale` points are odds of `base` to one, the anchor has `anchor_rating`."""
    out: Floats = anchor_rating + scale * strengths / np.log(base)
    return out
