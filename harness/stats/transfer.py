"""What a reference judge would have said of answers that it has not seen, from its verdicts on other models' answers.

A live judge has judged answers (values f, mean F) that the reference has not, and answers of other models (f', mean F')
of which the reference's verdicts (Y, mean Y') are on record. Three corrections differ in what they take for alike:

    ppi            Y' + F - F'                    the live judge is off by the same on average
    ppi_plus_plus  Y' + w (F - F'), w in 0..1     what the reference says of answers that the live judge rates alike
    rogan_gladen   (p + q0 - 1) / (q0 + q1 - 1)   what the live judge says of answers that the reference rates alike

`ppi` and `ppi_plus_plus` are those of arXiv 2311.01453, w = Cov(Y, f') / Var(f'), the weight of an audit (`audit`). The
paper's w is smaller, by 1 + m / n: most precise where both sets of answers are drawn from one population, which other
models' answers are not, and a smaller weight only draws every model towards the recorded ones. `rogan_gladen` is for
wins and losses: p = F, and q0 and q1 are how often the live judge agrees on the reference's losses and wins (Rogan &
Gladen 1978; arXiv 2511.21140).

None of this is an audit, whose labels are a random share of the same answers, and which is right whatever the live
judge is worth. A transfer is right only if its assumption holds, and no formula can tell: `left_out` tries it on each
recorded model in turn. Intervals (95 %) are over questions, which answers and labels share, and hold nothing of the
difference between models.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.stats.audit import FEWEST, best_weight, estimate
from harness.stats.distributions import normal_quantile
from harness.stats.intervals import mean_interval
from harness.stats.spread import Floats, Rows, totals

METHODS = PPI, TUNED, ROGAN_GLADEN = "ppi", "ppi_plus_plus", "rogan_gladen"
"""The last is for wins alone."""
Sums = tuple[float, ...]
"""Of one question's labels: their number, and the sums of y, f, y f and f f."""


@dataclass(frozen=True)
class Transferred:
    """A corrected score with its 95 % interval, in the unit of the values."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Labelled:
    """One recorded model: both judges' values of the same answers, arrays (answers,), and the question of each."""

    live: Floats
    reference: Floats
    questions: NDArray[Any]


@dataclass(frozen=True)
class LeftOut:
    """A recorded model's own score by the reference, and what the labels of the others make of the live judge's."""

    live: float
    reference: float
    transferred: Mapping[str, Transferred]

    def held(self, method: str) -> bool:
        """Whether the interval of a method holds the reference's own score."""
        made = self.transferred.get(method)
        return made is not None and made.low <= self.reference <= made.high


def label_sums(models: Sequence[Labelled]) -> dict[str, Sums]:
    """By question what `transfer` needs of the labels."""
    y, f, questions = (np.concatenate([getattr(m, k) for m in models]) for k in ("reference", "live", "questions"))
    order = list(dict.fromkeys(questions.tolist()))
    columns = [totals(questions, values, order)[0] for values in (np.ones(len(y)), y, f, y * f, f * f)]
    return {question: tuple(map(float, of)) for question, of in zip(order, np.stack(columns, 1), strict=True)}


def binary(models: Sequence[Labelled]) -> bool:
    """Whether the reference's values are losses (0), wins (1) and ties, which count half as each."""
    return all(bool(np.isin(m.reference, (0.0, 0.5, 1.0)).all()) for m in models)


def transfer(live: Rows, labels: Mapping[str, Sums], *, wins: bool) -> dict[str, Transferred]:
    """The corrected scores of a model by method; a method that cannot be had is left out.

    `live` are the live judge's values of the model's answers, a cluster being a question; `labels` those of other
    models' answers. With `wins` values are shares of a win and all methods are tried, else all but `rogan_gladen`.
    Fewer than `FEWEST` questions of either give no score.
    """
    questions = list(dict.fromkeys([*live.clusters.tolist(), *labels]))
    given, count = totals(live.clusters, live.values, questions)
    nothing = (0.0,) * 5
    sums = np.stack([count, given, *np.array([labels.get(question, nothing) for question in questions]).T])
    if min(np.count_nonzero(sums[0]), np.count_nonzero(sums[2])) < FEWEST:
        return {}
    made = {
        PPI: _over_questions(lambda s: estimate(s, np.ones(s.shape[1])), sums),
        TUNED: _over_questions(lambda s: estimate(s, best_weight(s)), sums),
        ROGAN_GLADEN: _rogan_gladen_of(sums) if wins else None,
    }
    return {method: score for method, score in made.items() if score is not None}


def left_out(models: Mapping[str, Labelled], *, wins: bool) -> dict[str, LeftOut]:
    """Each model in turn as if the reference had not judged it, corrected by the labels of the others.

    Empty with a single model.
    """
    tried = {}
    for name, model in models.items() if len(models) > 1 else ():
        labels = label_sums([other for key, other in models.items() if key != name])
        live = Rows(model.live, model.questions, np.arange(len(model.live)))
        made = transfer(live, labels, wins=wins)
        tried[name] = LeftOut(float(model.live.mean()), float(model.reference.mean()), made)
    return tried


def _over_questions(statistic: Callable[[Floats], Floats], sums: Floats) -> Transferred | None:
    """The jackknife over questions of a statistic (sums, k) -> (k,) of the sums over questions."""
    whole, n = sums.sum(axis=1, keepdims=True), sums.shape[1]
    without = statistic(whole - sums)
    places = np.arange(n)
    interval = mean_interval([Rows(statistic(whole) + (n - 1) * (without.mean() - without), places, places)])
    if interval is None or interval.low is None or interval.high is None:
        return None
    return Transferred(interval.value, interval.low, interval.high)


def rogan_gladen(p: float, q0: float, q1: float, sizes: tuple[float, float, float]) -> Transferred | None:
    """The corrected share of wins, and the adjusted delta-method interval of arXiv 2511.21140.

    `p` is the share that the live judge calls a win, `q0` and `q1` its agreement on the reference's losses and wins;
    `sizes` are the numbers of answers that they are shares of. None where the live judge agrees no better than chance,
    or the interval lies outside 0..1, which refutes the assumption.
    """
    if q0 + q1 <= 1:
        return None
    z = float(normal_quantile(0.975))
    added = (z**2 / 2, 1.0, 1.0)
    n, m0, m1 = (size + 2 * more for size, more in zip(sizes, added, strict=True))
    p_, q0_, q1_ = (
        (size * share + more) / (size + 2 * more) for size, share, more in zip(sizes, (p, q0, q1), added, strict=True)
    )
    if q0_ + q1_ <= 1:
        return None
    share = (p_ + q0_ - 1) / (q0_ + q1_ - 1)
    loss, win = q0_ * (1 - q0_) / m0, q1_ * (1 - q1_) / m1
    centre = share + 2 * z**2 * (share * win - (1 - share) * loss)
    error = np.sqrt(p_ * (1 - p_) / n + (1 - share) ** 2 * loss + share**2 * win) / (q0_ + q1_ - 1)
    if centre + z * error <= 0 or centre - z * error >= 1:
        return None
    value = (p + q0 - 1) / (q0 + q1 - 1)
    return Transferred(*(float(np.clip(x, 0, 1)) for x in (value, centre - z * error, centre + z * error)))


def _rogan_gladen_of(sums: Floats) -> Transferred | None:
    """The same of sums over questions, each share at the size that its spread over questions implies."""
    n, f, m, y, g, yg, _ = sums
    if not 0 < y.sum() < m.sum():
        return None
    (p, of_p), (q0, of_q0), (q1, of_q1) = _share(f, n), _share(m - y - g + yg, m - y), _share(yg, y)
    return rogan_gladen(p, q0, q1, (of_p, of_q0, of_q1))


def _share(part: Floats, of: Floats) -> tuple[float, float]:
    """A ratio of sums over questions, and its effective size: that of as uncertain a share of independent answers."""
    share, questions = part.sum() / of.sum(), np.count_nonzero(of)
    variance = ((part - share * of) ** 2).sum() / of.sum() ** 2 * questions / max(1, questions - 1)
    return float(share), float(share * (1 - share) / variance) if variance > 0 else float(questions)
