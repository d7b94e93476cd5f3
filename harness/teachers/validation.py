"""Did a teacher score tell which teachers make good students? Scores against outcomes, beside what costs nothing.

Every score is held against baselines that need no forward pass: chance, the teacher's size, its responses' length, its
own strength, its reward alone, and the ranking of the same teachers on the other student bases.

Two intervals, for two questions. `low`, `high`: would it hold with other teachers like these? The teachers are drawn
with replacement, 95 % percentiles; the mean over bases draws the same teachers for all bases, and takes the bases as
given. Measured on normal data, it covers 95 to 100 % with 6 to 19 teachers (too wide rather than too narrow where the
ranking is near perfect, and none where all draws agree); below 6 there is none. For the top pick and its regret a draw
is a smaller pool of teachers, so read theirs as the range over such pools. `prompt_low`, `prompt_high`: would it hold
with other prompts, for just these teachers and outcomes? Much narrower, and only for scores with `resamples`. Neither
covers the training seeds' noise in outcomes beyond what differs between teachers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.core.errors import HarnessError
from harness.stats import ranks
from harness.stats.spread import Floats
from harness.teachers._predictors import BASELINES, Facts, Predictor, read


@dataclass(frozen=True)
class _Case:
    """One predictor on one student base: its n teachers that have both a value and an outcome."""

    student: str
    predicted: Floats
    """(n,)"""
    outcome: Floats
    family: list[str]
    length: Floats
    resamples: Floats | None
    """(R, n) the prediction on resampled prompts."""
    weights: Floats
    """(R, n) how often each teacher was drawn."""
    undefined: str
    """Why no statistic is defined."""
    counts: dict[str, int]


_FORMULAS: dict[str, Callable[[_Case, Floats, Floats | None], Floats]] = {
    "spearman": lambda c, x, w: ranks.spearman(x, c.outcome, w),
    "kendall": lambda c, x, w: ranks.kendall(x, c.outcome, w),
    "pairwise_accuracy": lambda c, x, w: ranks.pairwise_accuracy(x, c.outcome, w),
    "top_1": lambda c, x, w: ranks.top_1(x, c.outcome, w),
    "regret_at_1": lambda c, x, w: ranks.regret_at_1(x, c.outcome, w),
    "spearman_given_length": lambda c, x, w: ranks.partial_spearman(x, c.outcome, c.length, w),
    "pairwise_accuracy_within_family": lambda c, x, w: ranks.pairwise_accuracy(x, c.outcome, w, c.family),
}
STATISTICS = tuple(_FORMULAS)
"""Their definitions are in `stats.ranks`; regret is in the outcome's unit, and lower is better for it alone."""
COLUMNS = (
    *("score", "baseline", "student", "statistic", "value", "low", "high", "prompt_low", "prompt_high"),
    *("n", "total", "no_score", "no_outcome", "null_runs", "note"),
)
MEAN = "mean"
"""The `student` of rows that are means over student bases."""

_LEAST, _LEAST_INTERVAL = 3, 6


@dataclass(frozen=True)
class _Found:
    """A statistic, and what it was on each resample (NaN where undefined)."""

    value: float | None
    over_teachers: Floats | None
    over_prompts: Floats | None
    note: str = ""


def validate(
    scores: pd.DataFrame, outcomes: pd.DataFrame, meta: pd.DataFrame, *, seed: int = 0, resamples: int = 2000
) -> pd.DataFrame:
    """COLUMNS, one row per score or baseline, student base (and their mean) and statistic.

    Args:
        scores: student, teacher, score, value, direction (`higher` or `lower`: where the better teacher lies), and
            `resamples` where known: an array of the score's values on resampled prompts, the same for all teachers.
            A leaderboard's rows for single student bases have this form; leave out those over all bases.
        outcomes: student, teacher, value (higher is better), and `seed` where a pair was trained more than once.
        meta: teacher, and where known family, size_b, strength, length.
        seed: of the intervals.
        resamples: of the teachers, and of random rankings.

    A teacher counts where it has both a score and an outcome: `n` of `total`; `no_score` and `no_outcome` count the
    others, `null_runs` the outcome rows without a value (their pair's other seeds still count). What is undefined is
    null, and `note` says why. In a mean row the counts are those of the base with the fewest teachers.

    Raises:
        HarnessError: a column is missing, a row is there twice, a value is infinite, a direction is unknown, or
            a name is taken.
    """
    facts, predictors = read(scores, outcomes, meta)
    if MEAN in facts.students:
        raise HarnessError(f"a student base cannot be called {MEAN!r}", where="student", fix="Rename it.")
    teachers = len(facts.teachers)
    weights = ranks.draw_weights(teachers, resamples, seed) if teachers else np.zeros((resamples, 0))
    null_runs = {str(s): int(rows["value"].isna().sum()) for s, rows in outcomes.groupby("student")}
    rows: list[dict[str, Any]] = []
    for predictor in [*predictors, _random(facts, resamples, seed)]:
        cases = [_case(predictor, facts, s, weights, null_runs) for s in range(len(facts.students))]
        find = _chance if predictor.name == "random" else _find
        for statistic in STATISTICS:
            found = [find(statistic, case) for case in cases]
            name = {"score": predictor.name, "baseline": predictor.name in BASELINES, "statistic": statistic}
            rows += [name | _row(f, c.student, c.counts) for f, c in zip(found, cases, strict=True)]
            fewest = min((c.counts for c in cases), key=lambda counts: counts["n"], default={})
            rows.append(name | _row(_mean(found), MEAN, fewest))
    numbers = ("value", "low", "high", "prompt_low", "prompt_high")
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(numbers, "float64"))


def _random(facts: Facts, resamples: int, seed: int) -> Predictor:
    """Random rankings, each the same for all bases, as a ranking by size is."""
    shape = facts.outcome.shape
    drawn = np.random.default_rng(seed).random((resamples, 1, len(facts.teachers)))
    return Predictor("random", np.zeros(shape), np.broadcast_to(drawn, (resamples, *shape)))


def _case(predictor: Predictor, facts: Facts, s: int, weights: Floats, null_runs: dict[str, int]) -> _Case:
    scored, trained = np.isfinite(predictor.values[s]), np.isfinite(facts.outcome[s])
    kept = np.flatnonzero(scored & trained)
    x, y = predictor.values[s, kept], facts.outcome[s, kept]
    undefined = predictor.absent
    if not undefined and len(kept) < _LEAST:
        undefined = f"fewer than {_LEAST} teachers with a score and an outcome"
    elif not undefined and np.ptp(y) == 0:
        undefined = "all outcomes are equal"
    elif not undefined and np.ptp(x) == 0 and predictor.name != "random":
        undefined = "the score is the same for all teachers"
    return _Case(
        student=facts.students[s],
        predicted=x,
        outcome=y,
        family=[facts.family[k] for k in kept],
        length=facts.length[s, kept],
        resamples=None if predictor.resamples is None else predictor.resamples[:, s, kept],
        weights=weights[:, kept],
        undefined=undefined,
        counts={
            "n": len(kept),
            "total": len(facts.teachers),
            "no_score": int((~scored).sum()),
            "no_outcome": int((~trained).sum()),
            "null_runs": null_runs.get(facts.students[s], 0),
        },
    )


def _undefined(statistic: str, case: _Case) -> str:
    """Why this statistic has no value here; empty where it has one."""
    if case.undefined:
        return case.undefined
    if statistic == "spearman_given_length":
        unknown = int((~np.isfinite(case.length)).sum())
        if unknown:
            return f"no response length of {unknown} of {len(case.length)} teachers"
        if np.ptp(case.length) == 0:
            return "all response lengths are equal"
    elif statistic == "pairwise_accuracy_within_family" and not np.isfinite(
        ranks.pairwise_accuracy(case.predicted, case.outcome, groups=case.family)
    ):
        return "no two teachers of one family with different outcomes"
    return ""


def _find(statistic: str, case: _Case) -> _Found:
    formula = _FORMULAS[statistic]
    why = _undefined(statistic, case)
    value = np.nan if why else float(formula(case, case.predicted, None))
    if not np.isfinite(value):
        return _Found(None, None, None, why or "nothing is left once the control is taken out")
    few = len(case.outcome) < _LEAST_INTERVAL
    over_teachers = None if few else formula(case, case.predicted, case.weights)
    known = case.resamples is not None and bool(np.isfinite(case.resamples).all())
    over_prompts = formula(case, case.resamples, None) if case.resamples is not None and known else None
    return _Found(value, over_teachers, over_prompts, f"no interval: fewer than {_LEAST_INTERVAL} teachers" * few)


def _chance(statistic: str, case: _Case) -> _Found:
    """What a random ranking is expected to reach, and in place of the interval over teachers the range of chance."""
    why = _undefined(statistic, case)
    if why or case.resamples is None:
        return _Found(None, None, None, why)
    # A ranking that ties all teachers has chance's pairwise accuracy, top pick and regret; its correlation is 0 / 0.
    expected = float(np.nan_to_num(_FORMULAS[statistic](case, case.predicted, None)))
    return _Found(expected, _FORMULAS[statistic](case, case.resamples, None), None, "interval: 95 % of random rankings")


def _mean(found: Sequence[_Found]) -> _Found:
    """The mean over the bases where it is defined, resample by resample."""
    defined = [f for f in found if f.value is not None]
    values = [f.value for f in defined if f.value is not None]
    notes = list(dict.fromkeys(f.note for f in found if f.note))
    if len(defined) < len(found):
        notes.insert(0, f"{len(defined)} of {len(found)} student bases")
    return _Found(
        float(np.mean(values)) if values else None,
        _averaged([f.over_teachers for f in defined]),
        _averaged([f.over_prompts for f in defined]),
        "; ".join(notes),
    )


def _averaged(replicates: Sequence[Floats | None]) -> Floats | None:
    known = [r for r in replicates if r is not None]
    return np.mean(known, axis=0) if known and len(known) == len(replicates) else None


def _row(found: _Found, student: str, counts: dict[str, int]) -> dict[str, Any]:
    low, high = _bounds(found.over_teachers)
    prompt_low, prompt_high = _bounds(found.over_prompts)
    note = found.note
    if found.over_teachers is not None and low is None:
        note = "; ".join(filter(None, [note, "no interval: the draws of teachers all agree, or most are undefined"]))
    bounds = {"low": low, "high": high, "prompt_low": prompt_low, "prompt_high": prompt_high}
    return {"student": student, "value": found.value, **bounds, **counts, "note": note}


def _bounds(replicates: Floats | None) -> tuple[float | None, float | None]:
    """The middle 95 %; nothing where most resamples are undefined or all agree, which is not certainty."""
    known = replicates[np.isfinite(replicates)] if replicates is not None else np.zeros(0)
    if replicates is None or len(known) < len(replicates) / 2 or np.ptp(known) == 0:
        return None, None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
