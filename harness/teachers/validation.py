"""Does a teacher score tell which teachers make good students? Scores against outcomes, beside cheap baselines.

Every score is compared with baselines that need no forward pass: chance, the teacher's size, its responses' length, its
strength, its reward alone, and the ranking of the same teachers on the other student bases.

Two intervals answer two questions. `low`, `high`: would the statistic hold with other teachers like these? The teachers
are drawn with replacement, 95 % percentiles; the mean over bases draws the same teachers for all bases, and takes the
bases as fixed. On simulated normal data the interval covers 95 to 100 % with 6 to 19 teachers (too wide rather than too
narrow where the ranking is near perfect); below 6 teachers, or where all draws agree, there is no interval. For the top
pick and its regret a draw is a smaller pool of teachers, so their interval is the range over such pools. `prompt_low`,
`prompt_high`: would the statistic hold with other prompts, for these teachers and outcomes? This interval is much
narrower, and exists only for scores with `resamples`. Neither covers the training seeds' noise in outcomes beyond the
differences between teachers.
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
    """A predictor on a student base: the n teachers that have both a value and an outcome."""

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
"""Defined in `stats.ranks`; regret is in the outcome's unit, and the only statistic where lower is better."""
COLUMNS = (
    *("score", "baseline", "student", "statistic", "value", "low", "high", "prompt_low", "prompt_high"),
    *("n", "total", "no_score", "no_outcome", "null_runs", "note"),
)
MEAN = "mean"
"""The `student` of rows that are means over student bases."""

_LEAST, _LEAST_INTERVAL = 3, 6


@dataclass(frozen=True)
class _Result:
    """A statistic, and its value on each resample (NaN where undefined)."""

    value: float | None
    over_teachers: Floats | None
    over_prompts: Floats | None
    note: str = ""


def validate(
    scores: pd.DataFrame, outcomes: pd.DataFrame, meta: pd.DataFrame, *, seed: int = 0, resamples: int = 2000
) -> pd.DataFrame:
    """COLUMNS, a row per score or baseline, student base (and their mean) and statistic.

    Args:
        scores: student, teacher, score, value, direction (`higher` or `lower`: where the better teacher lies), and
            `resamples` where known: an array of the score's values on resampled prompts, the same for all teachers.
            A leaderboard's rows for single student bases have this form; leave out its rows over all bases.
        outcomes: student, teacher, value (higher is better), and `seed` where a pair was trained more than once.
        meta: teacher, and where known family, size_b, strength, length.
        seed: of the intervals.
        resamples: how many draws of teachers, and how many random rankings.

    A teacher counts if it has both a score and an outcome: `n` of `total`; `no_score` and `no_outcome` count the
    others, `null_runs` the outcome rows without a value (their pair's other seeds still count). An undefined number is
    null, and `note` says why. A mean row has the counts of the base with the fewest teachers.

    Raises:
        HarnessError: a column is missing, a row occurs twice, a value is infinite, a direction is unknown, or
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
        evaluate = _chance if predictor.name == "random" else _evaluated
        for statistic in STATISTICS:
            results = [evaluate(statistic, case) for case in cases]
            name = {"score": predictor.name, "baseline": predictor.name in BASELINES, "statistic": statistic}
            rows += [name | _row(f, c.student, c.counts) for f, c in zip(results, cases, strict=True)]
            fewest = min((c.counts for c in cases), key=lambda counts: counts["n"], default={})
            rows.append(name | _row(_mean(results), MEAN, fewest))
    numbers = ("value", "low", "high", "prompt_low", "prompt_high")
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(numbers, "float64"))


def _random(facts: Facts, resamples: int, seed: int) -> Predictor:
    """Random rankings, each the same for all bases, like a ranking by size."""
    shape = facts.outcome.shape
    drawn = np.random.default_rng(seed).random((resamples, 1, len(facts.teachers)))
    return Predictor("random", np.zeros(shape), np.broadcast_to(drawn, (resamples, *shape)))


def _case(predictor: Predictor, facts: Facts, s: int, weights: Floats, null_runs: dict[str, int]) -> _Case:
    scored, trained = np.isfinite(predictor.values[s]), np.isfinite(facts.outcome[s])
    usable = np.flatnonzero(scored & trained)
    x, y = predictor.values[s, usable], facts.outcome[s, usable]
    undefined = predictor.absent
    if not undefined and len(usable) < _LEAST:
        undefined = f"fewer than {_LEAST} teachers with a score and an outcome"
    elif not undefined and np.ptp(y) == 0:
        undefined = "all outcomes are equal"
    elif not undefined and np.ptp(x) == 0 and predictor.name != "random":
        undefined = "the score is the same for all teachers"
    return _Case(
        student=facts.students[s],
        predicted=x,
        outcome=y,
        family=[facts.family[k] for k in usable],
        length=facts.length[s, usable],
        resamples=None if predictor.resamples is None else predictor.resamples[:, s, usable],
        weights=weights[:, usable],
        undefined=undefined,
        counts={
            "n": len(usable),
            "total": len(facts.teachers),
            "no_score": int((~scored).sum()),
            "no_outcome": int((~trained).sum()),
            "null_runs": null_runs.get(facts.students[s], 0),
        },
    )


def _undefined(statistic: str, case: _Case) -> str:
    """Why this statistic has no value here; empty if it has a value."""
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


def _evaluated(statistic: str, case: _Case) -> _Result:
    formula = _FORMULAS[statistic]
    why = _undefined(statistic, case)
    value = np.nan if why else float(formula(case, case.predicted, None))
    if not np.isfinite(value):
        return _Result(None, None, None, why or "nothing is left once the control is taken out")
    few = len(case.outcome) < _LEAST_INTERVAL
    over_teachers = None if few else formula(case, case.predicted, case.weights)
    known = case.resamples is not None and bool(np.isfinite(case.resamples).all())
    over_prompts = formula(case, case.resamples, None) if case.resamples is not None and known else None
    return _Result(value, over_teachers, over_prompts, f"no interval: fewer than {_LEAST_INTERVAL} teachers" * few)


def _chance(statistic: str, case: _Case) -> _Result:
    """The expected statistic of a random ranking, with the range of random rankings as the interval over teachers."""
    why = _undefined(statistic, case)
    if why or case.resamples is None:
        return _Result(None, None, None, why)
    # A ranking that ties all teachers has the expected pairwise accuracy, top pick and regret, and correlation 0 / 0.
    expected = float(np.nan_to_num(_FORMULAS[statistic](case, case.predicted, None)))
    return _Result(
        expected, _FORMULAS[statistic](case, case.resamples, None), None, "interval: 95 % of random rankings"
    )


def _mean(results: Sequence[_Result]) -> _Result:
    """The mean over the bases where the statistic is defined, resample by resample."""
    defined = [f for f in results if f.value is not None]
    values = [f.value for f in defined if f.value is not None]
    notes = list(dict.fromkeys(f.note for f in results if f.note))
    if len(defined) < len(results):
        notes.insert(0, f"{len(defined)} of {len(results)} student bases")
    return _Result(
        float(np.mean(values)) if values else None,
        _averaged([f.over_teachers for f in defined]),
        _averaged([f.over_prompts for f in defined]),
        "; ".join(notes),
    )


def _averaged(replicates: Sequence[Floats | None]) -> Floats | None:
    known = [r for r in replicates if r is not None]
    return np.mean(known, axis=0) if known and len(known) == len(replicates) else None


def _row(result: _Result, student: str, counts: dict[str, int]) -> dict[str, Any]:
    low, high = _bounds(result.over_teachers)
    prompt_low, prompt_high = _bounds(result.over_prompts)
    note = result.note
    if result.over_teachers is not None and low is None:
        note = "; ".join(filter(None, [note, "no interval: the draws of teachers all agree, or most are undefined"]))
    bounds = {"low": low, "high": high, "prompt_low": prompt_low, "prompt_high": prompt_high}
    return {"student": student, "value": result.value, **bounds, **counts, "note": note}


def _bounds(replicates: Floats | None) -> tuple[float | None, float | None]:
    """The middle 95 %; None if most resamples are undefined, or if all agree, which is not certainty."""
    known = replicates[np.isfinite(replicates)] if replicates is not None else np.zeros(0)
    if replicates is None or len(known) < len(replicates) / 2 or np.ptp(known) == 0:
        return None, None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
