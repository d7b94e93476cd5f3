"""Strengths of players who all met one opponent, at equal style: Arena-Hard v2.0's control.

A battle's log-odds are the player's strength plus a weighted sum of style differences, which are standardised over all
battles: a strength is one at the battles' average differences, so that it depends on who else is in the fit.
"""

import numpy as np
from numpy.typing import NDArray

from harness.stats.distributions import logistic

Floats = NDArray[np.float64]

_FLAT = 1e-9
"""The largest gradient entry, per battle, of a fit that is done."""
_ENDLESS = 15.0
"""A strength beyond which a player won all battles or none: no finite one fits best."""


def style_differences(players: Floats, opponent: Floats) -> Floats:
    """Differences in style, (battles, features), of answers from the opponent's, each between -1 and 1.

    A row counts an answer's tokens and then Markdown elements: (l_p - l_o) / (l_p + l_o) of tokens, and of elements
    per token + 1, d, (d_p - d_o) / (d_p + d_o + 1).
    """
    length = (players[:, :1] - opponent[:, :1]) / np.maximum(players[:, :1] + opponent[:, :1], 1)
    density = [counts[:, 1:] / (counts[:, :1] + 1) for counts in (players, opponent)]
    together: Floats = np.hstack([length, (density[0] - density[1]) / (density[0] + density[1] + 1)])
    return together


def standardised(differences: Floats) -> Floats:
    """Each column with mean 0 and sample standard deviation 1; a constant column is 0."""
    centred = differences - differences.mean(axis=0)
    deviation = differences.std(axis=0, ddof=1) if len(differences) > 1 else np.zeros(differences.shape[1])
    scaled: Floats = centred / np.where(deviation > 0, deviation, 1)
    return scaled


def controlled_win_rates(player: NDArray[np.intp], style: Floats, outcome: Floats, weight: Floats) -> Floats:
    """Each player's probability (0 to 1) to win a battle at average style differences; NaN where no finite strength
    fits best.

    Battles are rows: who plays, 0 to k - 1; `standardised` style differences; 1, 0.5 or 0; and how often it counts.
    """
    players = int(player.max()) + 1
    x = np.hstack([np.eye(players)[player], style])
    x = x[:, np.append(np.ones(players, bool), style.any(axis=0))]

    def loss(b: Floats) -> float:
        logits = x @ b
        return float(weight @ (np.logaddexp(0, logits) - outcome * logits))

    def gradient(b: Floats) -> Floats:
        out: Floats = x.T @ (weight * (logistic(x @ b) - outcome))
        return out

    def hessian(b: Floats) -> Floats:
        chance = logistic(x @ b)
        out: Floats = (x * (weight * chance * (1 - chance))[:, None]).T @ x
        return out

    start, enough = np.zeros(x.shape[1]), _FLAT * float(weight.sum())
    from scipy import optimize  # here, because it takes a quarter of a second, and planning fits nothing

    b = optimize.minimize(loss, start, jac=gradient, hess=hessian, method="trust-exact", options={"gtol": enough}).x
    met = np.bincount(player, weight, players) > 0
    finite = met & (np.abs(b[:players]) < _ENDLESS)
    return np.where(finite, logistic(b[:players]), np.nan)
