"""The input of validation as arrays over student bases (S) and teachers (T); a missing value is NaN."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.core.errors import HarnessError
from harness.stats.spread import Floats

BASELINES = ("random", "size", "length", "strength", "reward", "leave_one_student_out")
"""The baselines of every score. `random` is not a predictor: validation computes it from random rankings."""

_META = {"size": "size_b", "length": "length", "strength": "strength"}
"""The column of `meta` that a baseline ranks by, the larger the better."""


@dataclass(frozen=True)
class Facts:
    """The outcomes of students, and the metadata of their teachers."""

    students: list[str]
    teachers: list[str]
    outcome: Floats
    """(S, T) mean over seeds; NaN where no run of this pair has a value."""
    family: list[str]
    """(T,) a teacher without a family gets a family for itself."""
    length: Floats
    """(S, T) mean length of the teacher's responses, the control variable: the score `length`, or else meta's."""


@dataclass(frozen=True)
class Predictor:
    """A number per (student base, teacher), turned so that higher means a better teacher."""

    name: str
    values: Floats
    """(S, T)"""
    resamples: Floats | None = None
    """(R, S, T) the same number on R resamples of the prompts."""
    absent: str = ""
    """Why no value is known."""


def read(scores: pd.DataFrame, outcomes: pd.DataFrame, meta: pd.DataFrame) -> tuple[Facts, list[Predictor]]:
    """The facts, and all predictors: the scores in the order of the table, then the baselines that are no scores.

    Raises:
        HarnessError: a column is missing, a row occurs twice, a value is infinite, or a direction is unknown.
    """
    keys = ["student", "teacher"]
    check_table(scores, "scores", [*keys, "score", "value", "direction"], [*keys, "score"])
    check_table(outcomes, "outcomes", [*keys, "value"], [*keys, *(["seed"] if "seed" in outcomes else [])])
    check_table(meta, "meta", ["teacher"], ["teacher"])
    taken = {"random", "leave_one_student_out"} & set(scores["score"])
    if taken:
        raise HarnessError(f"a score named {taken.pop()}", where="scores", fix="That is a baseline's name: rename it.")
    students = list(dict.fromkeys([*outcomes["student"], *scores["student"]]))
    teachers = sorted({*meta["teacher"], *outcomes["teacher"], *scores["teacher"]})
    outcome = _grid(over_seeds(outcomes), students, teachers)
    predictors = [_predictor(str(name), rows, students, teachers) for name, rows in scores.groupby("score", sort=False)]
    scored = {p.name: p for p in predictors}
    baselines = [scored.get(n) or _baseline(n, outcome, meta, students, teachers) for n in BASELINES if n != "random"]
    length = next(b for b in baselines if b.name == "length")
    facts = Facts(students, teachers, outcome, _families(meta, teachers), length.values)
    return facts, [*predictors, *(b for b in baselines if b.name not in scored)]


def check_table(frame: pd.DataFrame, name: str, columns: Sequence[str], key: Sequence[str]) -> None:
    """Refuse a missing column, a row that occurs twice, an infinite number."""
    lacking = [c for c in columns if c not in frame]
    if lacking:
        raise HarnessError(f"no column {', '.join(lacking)}", where=name, fix=f"Columns needed: {', '.join(columns)}.")
    twice = frame[frame.duplicated(list(key))]
    if len(twice):
        row = ", ".join(f"{k} {twice.iloc[0][k]}" for k in key)
        raise HarnessError(f"{row} occurs twice", where=name, fix=f"Give one row per {', '.join(key)}.")
    for column in {"value", *_META.values()} & set(frame):
        if np.isinf(frame[column].to_numpy(dtype=np.float64, na_value=np.nan)).any():
            raise HarnessError(f"an infinite {column}", where=name, fix="Leave an unknown value empty.")


def over_seeds(outcomes: pd.DataFrame) -> pd.DataFrame:
    """student, teacher, value: the mean over seeds; null where no seed has a value."""
    # Rounded, so that equal means are a tie whatever the order of their sum.
    return outcomes.groupby(["student", "teacher"], sort=False)["value"].mean().round(10).reset_index()


def _grid(rows: pd.DataFrame, students: list[str], teachers: list[str]) -> Floats:
    """(S, T) from the columns student, teacher and value."""
    table = rows.pivot(index="student", columns="teacher", values="value").reindex(index=students, columns=teachers)
    return table.to_numpy(dtype=np.float64, na_value=np.nan)


def _predictor(name: str, rows: pd.DataFrame, students: list[str], teachers: list[str]) -> Predictor:
    directions = set(rows["direction"])
    if len(directions) != 1 or not directions <= {"higher", "lower"}:
        raise HarnessError(
            f"direction {', '.join(sorted(map(str, directions)))}",
            where=f"score {name}",
            fix="One direction per score: 'higher' or 'lower', where the better teacher lies.",
        )
    sign = 1.0 if directions == {"higher"} else -1.0
    return Predictor(name, sign * _grid(rows, students, teachers), _resamples(name, rows, sign, students, teachers))


def _resamples(name: str, rows: pd.DataFrame, sign: float, students: list[str], teachers: list[str]) -> Floats | None:
    if "resamples" not in rows:
        return None
    drawn = rows[rows["resamples"].notna()]
    counts = {len(d) for d in drawn["resamples"]}
    if not counts:
        return None
    if len(counts) > 1:
        raise HarnessError(
            f"{min(counts)} resamples for one teacher and {max(counts)} for another",
            where=f"score {name}",
            fix="Draw the same prompts for all teachers of a student base.",
        )
    out = np.full((counts.pop(), len(students), len(teachers)), np.nan)
    for row in drawn.itertuples():
        out[:, students.index(str(row.student)), teachers.index(str(row.teacher))] = np.asarray(row.resamples) * sign
    return out


def _baseline(name: str, outcome: Floats, meta: pd.DataFrame, students: list[str], teachers: list[str]) -> Predictor:
    nothing = np.full(outcome.shape, np.nan)
    if name == "leave_one_student_out":
        others = _others(outcome)
        return Predictor(name, others, absent="needs a second student base" if np.isnan(others).all() else "")
    column = _META.get(name)
    if column is None:
        return Predictor(name, nothing, absent=f"no score named {name}")
    if column not in meta or meta[column].isna().all():
        return Predictor(name, nothing, absent=f"no {column} of any teacher")
    known = meta.set_index("teacher")[column].reindex(teachers).to_numpy(dtype=np.float64, na_value=np.nan)
    return Predictor(name, np.broadcast_to(known, outcome.shape).copy())


def _others(outcome: Floats) -> Floats:
    """(S, T) each teacher's mean outcome on the other bases; NaN unless it has one on all of them, as levels differ."""
    trained = np.isfinite(outcome).any(axis=1)
    out = np.full(outcome.shape, np.nan)
    for s in range(len(outcome)):
        others = outcome[trained & (np.arange(len(outcome)) != s)]
        if len(others):
            out[s] = others.mean(axis=0).round(10)
    return out


def _families(meta: pd.DataFrame, teachers: Sequence[str]) -> list[str]:
    known = meta.set_index("teacher")["family"].dropna().to_dict() if "family" in meta else {}
    return [f"family {known[t]}" if t in known else f"teacher {t}" for t in teachers]
