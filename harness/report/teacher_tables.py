"""The teachers page's tables: leaderboards, CAR as beta moves, what became of the prompts."""

import inspect
import math
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.report.measure import Estimate
from harness.report.numbers import digits, number
from harness.report.tables import Column, Entry, Shown, Table
from harness.report.teachers import TeacherData
from harness.teachers.api import all_scores
from harness.teachers.car import CarSweep
from harness.teachers.leaderboard import OVERALL

_BASELINES = {
    "random": "Random ranking",
    "size": "Teacher size",
    "strength": "Own strength",
    "leave_one_student_out": "Its other students",
}
ARROWS = {"higher": "↑", "lower": "↓"}


def score_title(name: str) -> str:
    """A score as its authors write it, a baseline in words."""
    known = all_scores()
    return known[name].title if name in known else _BASELINES.get(name, name.replace("_", " "))


def lead_score(board: pd.DataFrame) -> str:
    """The score that a leaderboard is ordered by: CAR where there is one."""
    names = list(dict.fromkeys(board["score"]))
    return "car" if "car" in names else str(names[0])


def file_name(*parts: str) -> str:
    """A file's stem; what file systems cannot take becomes a hyphen."""
    return "_".join(re.sub(r"[^A-Za-z0-9._]+", "-", p).strip("-.")[:40] for p in parts)


def finite(value: object) -> float | None:
    """A number, or None where it is not known."""
    found = float(value) if value is not None and not pd.isna(value) else math.nan  # type: ignore[call-overload, arg-type]
    return found if math.isfinite(found) else None


def estimates(rows: pd.DataFrame, decimals: int | None = None) -> list[Estimate]:
    """value, low, high, n, total as estimates that share their column's decimals."""
    widths = (rows["high"] - rows["low"]).dropna()
    errors = widths[widths > 0] / 3.92  # a normal interval is 2 x 1.96 standard errors wide
    places = digits(float(errors.median())) if decimals is None and len(errors) else decimals
    return [
        Estimate(finite(r.value), finite(r.low), finite(r.high), None, int(r.n), int(r.total), 1, decimals=places)  # type: ignore[arg-type]
        for r in rows.itertuples()
    ]


def board_tables(data: TeacherData) -> list[Table]:
    """One leaderboard per student base, then the one over all of them."""
    return [
        _board_table(data, str(student), f"teachers_board_{k}_{file_name(str(student))}")
        for k, student in enumerate(dict.fromkeys(data.board["student"]))
    ]


def _board_table(data: TeacherData, student: str, name: str) -> Table:
    board = data.board[data.board["student"] == student]
    lead = lead_score(data.board)
    first = board[board["score"] == lead].reset_index(drop=True)
    teachers = [str(t) for t in first["teacher"]]
    about = data.about.set_index("teacher").reindex(teachers)
    title = score_title(lead)
    columns = [Column("teacher", "teacher"), Column("rank", "rank", "95 % interval", "number")]
    entries: list[Sequence[Entry]] = [teachers, [_rank(r) for _, r in first.iterrows()]]
    columns.append(Column(lead, title, _unit(first), "estimate"))
    entries.append(estimates(first))
    columns.append(Column("first", f"P({title} 1st)", "of resamples", "number"))
    entries.append([_percent(finite(p)) for p in first["first"]])
    if (about["family"].fillna("") != "").any():
        columns.append(Column("family", "family"))
        entries.append([str(f) if f and not pd.isna(f) else "–" for f in about["family"]])
    if about["size_b"].notna().any():
        columns.append(Column("size_b", "size", "parameters", "number"))
        entries.append([_size(finite(s)) for s in about["size_b"]])
    for score in sorted(dict.fromkeys(board["score"]), key=lambda s: s not in ("reward", "loss")):
        if score != lead:  # what CAR is made of comes next to it
            own = board[board["score"] == score].set_index("teacher").reindex(teachers)
            columns.append(Column(str(score), score_title(str(score)), _unit(own), "number"))
            entries.append(_with_ranks(own))
    if about["response_seconds"].notna().any():
        columns.append(Column("response_seconds", "answering", "seconds", "number"))
        entries.append([_short(finite(s)) for s in about["response_seconds"]])
    if about["cost_usd"].notna().any():
        columns.append(Column("cost_usd", "responses cost", "USD", "number"))
        entries.append([_short(finite(c)) for c in about["cost_usd"]])
    rows = tuple(zip(*entries, strict=True))
    return Table(name, _board_title(student, title), tuple(columns), rows, _board_notes(student, title, data))


def _board_title(student: str, title: str) -> str:
    return f"Over all student bases, by mean {title} rank" if student == OVERALL else f"For {student}, by {title}"


def _board_notes(student: str, title: str, data: TeacherData) -> tuple[str, ...]:
    brackets = "Brackets: 95 % of a bootstrap over prompts (2,000 resamples, the same for all teachers)."
    close = "Where teachers are close, resampled ranks lie nearer to the middle, so a first rank can stand at the edge."
    if student == OVERALL:
        what = (
            f"{title} is here the mean of the teacher's ranks on the bases; n/total counts the bases it is ranked on."
        )
        return (what, brackets + " " + close)
    prompts = "prompts that all teachers answered" if data.settings.common else "prompts that this teacher answered"
    return (
        f"↑ higher is better, ↓ lower is better; behind another score's value stands its rank. n/total: {prompts}.",
        f"{brackets} They say how far other prompts would move a number, not how well it predicts a student. {close}",
    )


def _unit(rows: pd.DataFrame) -> str:
    known = rows.dropna(subset=["unit"])
    return f"{known['unit'].iloc[0]} {ARROWS[known['direction'].iloc[0]]}" if len(known) else ""


def _rank(row: "pd.Series[float]") -> Shown:
    rank, low, high = (finite(row[k]) for k in ("rank", "rank_low", "rank_high"))
    if rank is None:
        return Shown(None, "–")
    return Shown(rank, f"{rank:g}" if low is None or high is None else f"{rank:g} [{low:g}, {high:g}]")


def _with_ranks(rows: pd.DataFrame) -> list[Entry]:
    """`1.73 (4)`: values with their column's decimals, ranks in brackets."""
    values = [finite(v) for v in rows["value"]]
    sizes = [abs(v) for v in values if v]
    places = digits(None, float(np.median(sizes))) if sizes else 2
    ranks = [finite(r) for r in rows["rank"]]
    return [
        Shown(v, "–" if v is None else number(v, places) + (f" ({r:g})" if r is not None else ""))
        for v, r in zip(values, ranks, strict=True)
    ]


def _size(billions: float | None) -> Shown:
    if billions is None:
        return Shown(None, "–")
    scale, unit = (1.0, "B") if billions >= 1 else (1e-3, "M") if billions >= 1e-3 else (1e-6, "k")
    return Shown(billions, f"{billions / scale:.3g} {unit}")


def _percent(share: float | None) -> Shown:
    return Shown(share, "–" if share is None else f"{100 * share:.0f} %")


def _short(value: float | None) -> Shown:
    return Shown(value, "–" if value is None else f"{value:.3g}" if value < 1000 else f"{value:,.0f}")


def scores_table(data: TeacherData) -> Table:
    """What each score is, in a sentence, with its source."""
    known = all_scores()
    rows: list[tuple[Entry, ...]] = []
    for name in dict.fromkeys(data.board["score"]):
        score = known[str(name)]
        module = inspect.getdoc(inspect.getmodule(score.parts)) or ""
        rows.append(
            (
                f"{score.title} {ARROWS[score.direction]}",
                score.unit,
                " ".join(module.split("\n\n")[0].split()),
                score.source,
            )
        )
    titles = ("score", "unit", "what it is", "source")
    return Table("teachers_scores", "What the scores are", tuple(Column(t, t) for t in titles), tuple(rows))


def sweep_table(sweep: CarSweep) -> Table:
    """Who is first and second at each beta."""
    rows: list[tuple[Entry, ...]] = []
    rules = []
    for student, group in sweep.frame.groupby("student", sort=False):
        rules.append(len(rows))
        for beta, at in group.groupby("beta"):
            ranked = at.dropna(subset=["car"]).sort_values(["rank", "teacher"])
            first, second = (ranked.iloc[k] if len(ranked) > k else None for k in range(2))
            rows.append(
                (
                    str(student),
                    Shown(float(beta), f"{beta:g}"),  # type: ignore[arg-type]
                    "–" if first is None else str(first["teacher"]),
                    _short(None if first is None else float(first["car"])),
                    _percent(None if first is None else finite(first["first"])),
                    "–" if second is None else str(second["teacher"]),
                    _short(None if second is None else float(second["car"])),
                )
            )
    columns = (
        Column("student", "student base"),
        Column("beta", "β", kind="number"),
        Column("first", "first"),
        Column("first_car", "its CAR", kind="number"),
        Column("first_share", "P(1st)", "of resamples", "number"),
        Column("second", "second"),
        Column("second_car", "its CAR", kind="number"),
    )
    return Table("teachers_sweep", "Who is first at which β", columns, tuple(rows), rules=tuple(rules[1:]))


def crossings_table(sweep: CarSweep, shown: tuple[float, float]) -> Table:
    """Where two teachers swap, from the smallest beta up; those outside the swept range too."""
    rows = tuple(
        (
            str(r.student),
            Shown(float(r.beta), f"{r.beta:.3g}"),  # type: ignore[arg-type]
            str(r.before),
            str(r.after),
            "yes" if shown[0] <= float(r.beta) <= shown[1] else "no",  # type: ignore[arg-type]
        )
        for r in sweep.crossings.sort_values(["student", "beta"]).itertuples()
    )
    columns = (
        Column("student", "student base"),
        Column("beta", "swap at β", kind="number"),
        Column("before", "ahead below"),
        Column("after", "ahead above"),
        Column("swept", "in the swept range"),
    )
    return Table("teachers_crossings", "Where ranks swap", columns, rows)


def counts_table(data: TeacherData) -> Table:
    """What became of every prompt."""
    titles: dict[str, str] = {
        "prompts": "prompts",
        "scored": "scored",
        "missing": "missing",
        "empty": "empty",
        "other": "other",
    }
    titles |= {"cut": "cut short", "refused": "refused", "common": "common to all"}
    rows: tuple[tuple[Entry, ...], ...] = tuple(
        (str(r["student"]), str(r["teacher"]), *(_count(finite(r[k])) for k in titles))
        for r in data.counts.to_dict("records")
    )
    columns = (
        Column("student", "student base"),
        Column("teacher", "teacher"),
        *(Column(k, t, kind="number") for k, t in titles.items()),
    )
    notes = (
        "prompts = scored + missing (no response) + empty + other (no room for the response, or no reward). Of the "
        f"scored: cut short (only the first {data.settings.scoring.max_length} tokens count, prompt included), refused "
        "(opens with a usual phrase of refusal in English).",
    )
    return Table("teachers_counts", "What became of the prompts", columns, rows, notes)


def _count(value: float | None) -> Shown:
    return Shown(value, "–" if value is None else f"{value:.0f}")
