"""A run folder's teacher scores as tables: the leaderboard, CAR as beta moves, and the scores against outcomes."""

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from harness.core.errors import HarnessError
from harness.record.teachers import TaughtPair, read_teachers
from harness.report.load import RunData, load_run
from harness.teachers.car import CarSweep, car_sweep
from harness.teachers.leaderboard import OVERALL, leaderboard, resampled_scores
from harness.teachers.paradox import paradox
from harness.teachers.parts import counts
from harness.teachers.settings import TeachersSettings
from harness.teachers.validation import validate

SEED = 0
"""Of every bootstrap in these tables."""


@dataclass(frozen=True)
class TeacherData:
    """What a run folder holds of its teachers."""

    name: str
    settings: TeachersSettings
    parts: pd.DataFrame
    """A row per response: student, teacher, id, status, cut, refusal, and the ingredients of each score."""
    pairs: tuple[TaughtPair, ...]
    about: pd.DataFrame
    """A row per teacher, with the fields of a TeacherRecord; numbers that are not known are NaN."""
    run: RunData | None
    """The run's scores, where its students were trained."""
    left_out: tuple[str, ...] = ()
    """What the recipe asks for and the run could not have."""

    @cached_property
    def board(self) -> pd.DataFrame:
        """The leaderboard (see `teachers.leaderboard`)."""
        return leaderboard(self.parts, self.settings, SEED)

    @cached_property
    def counts(self) -> pd.DataFrame:
        """What became of the prompts (see `teachers.parts.counts`)."""
        return counts(self.parts)

    @cached_property
    def sweep(self) -> CarSweep | None:
        """CAR over the swept betas; None where there is no reward."""
        return car_sweep(self.parts, self.settings, seed=SEED) if "car" in set(self.board["score"]) else None


def load_teachers(folder: Path) -> TeacherData:
    """Read a run folder.

    Raises:
        HarnessError: the run has no teacher scores, or none that are finished.
    """
    record, parts = read_teachers(folder)
    if parts.empty:
        raise HarnessError("no teacher is scored yet", where=str(folder), fix="`harness status` says how far it is.")
    run = load_run(folder) if (folder / "run.json").exists() else None
    about = pd.DataFrame([asdict(teacher) for teacher in record.about]).astype(
        dict.fromkeys(("size_b", "strength", "cost_usd", "response_seconds"), "float64")
    )
    return TeacherData(folder.name, record.settings, parts, record.pairs, about, run, record.left_out)


def strengths(data: TeacherData, metric: tuple[str, str]) -> "pd.Series[float]":
    """Each teacher's own strength: as the recipe gives it, else its own score in this run on the same metric."""
    about = data.about.set_index("teacher")
    if data.run is None:
        return about["strength"]
    return about["strength"].fillna(about["baseline"].map(_outcome(data.run, metric)))


def _metrics(run: RunData, wanted: tuple[str, ...]) -> list[tuple[str, str]]:
    """The (benchmark, metric) that count as outcomes: those that are wanted, or every headline metric."""
    known = [(m.benchmark, m.metric) for m in run.metrics]
    headline = [(m.benchmark, m.metric) for m in run.metrics if m.headline]
    for name in wanted:
        if tuple(name.split(".", 1)) not in known:
            there = ", ".join(".".join(pair) for pair in known)
            raise HarnessError(f"no such metric: {name}", where="teachers.outcomes", fix=f"There are {there}.")
    return [pair for pair in known if ".".join(pair) in wanted] if wanted else headline


def _outcome(run: RunData, metric: tuple[str, str]) -> "pd.Series[float]":
    """Each cell's score, so that higher is better."""
    scores = run.scores
    mine = scores[
        (scores["benchmark"] == metric[0]) & (scores["metric"] == metric[1]) & (scores["category"] == "overall")
    ]
    lower = any(m.direction == "lower" for m in run.metrics if (m.benchmark, m.metric) == metric)
    return mine.set_index("cell")["value"].astype(float) * (-1 if lower else 1)


def outcomes(data: TeacherData, metric: tuple[str, str]) -> pd.DataFrame:
    """What the students achieved: student, teacher, seed (the cell's name), value; null where a cell has no score."""
    assert data.run is not None, "asked for only where students were trained"
    values = _outcome(data.run, metric)
    rows = [
        {"student": pair.student, "teacher": pair.teacher, "seed": cell, "value": values.get(cell)}
        for pair in data.pairs
        for cell in pair.cells
    ]
    return pd.DataFrame(rows, columns=["student", "teacher", "seed", "value"]).astype({"value": "float64"})


def validation(data: TeacherData) -> pd.DataFrame:
    """Every score and baseline against every outcome (see `teachers.validation`), with a column outcome in front.

    Raises:
        HarnessError: no student was trained on these teachers.
    """
    metrics = _metrics(data.run, data.settings.outcomes) if data.run is not None else []
    if not metrics:
        fix = "Give the recipe `train` and `evaluate`, and run it with `harness run`."
        raise HarnessError("no student was trained on these teachers", where=data.name, fix=fix)
    resampled = resampled_scores(data.parts, data.settings, SEED)
    board = data.board[data.board["student"] != OVERALL].merge(resampled, on=["student", "teacher", "score"])
    frames = [
        validate(board, outcomes(data, metric), _meta(data, metric), seed=SEED).assign(outcome=".".join(metric))
        for metric in metrics
    ]
    table = pd.concat(frames, ignore_index=True)
    return table[["outcome", *table.columns.drop("outcome")]]


def _meta(data: TeacherData, metric: tuple[str, str]) -> pd.DataFrame:
    """What is known of the teachers, with their mean response length in characters as the table of parts has it."""
    lengths = data.board[(data.board["score"] == "length") & (data.board["student"] != OVERALL)]
    mean = lengths.groupby("teacher")["value"].mean().rename("length")
    about = data.about.assign(strength=data.about["teacher"].map(strengths(data, metric)))
    return about.merge(mean, how="left", left_on="teacher", right_index=True)


def larger_models(data: TeacherData, metric: tuple[str, str]) -> pd.DataFrame:
    """Within each family: does the bigger teacher make the better student? (see `teachers.paradox`)"""
    return paradox(outcomes(data, metric), _meta(data, metric))


def rows(data: TeacherData, score: str | None) -> pd.DataFrame:
    """The leaderboard's rows, or one score's."""
    if score is None:
        return data.board
    known = list(dict.fromkeys(data.board["score"]))
    if score not in known:
        raise HarnessError(f"no teacher score '{score}'", where="--score", fix=f"There are {', '.join(known)}.")
    return data.board[data.board["score"] == score]


def shown(data: TeacherData, score: str | None) -> pd.DataFrame:
    """The leaderboard as a terminal shows it: one score in full, or every score's rank in a row per teacher."""
    if score is not None:
        return rows(data, score)
    entries = [_entry(value, rank) for value, rank in zip(data.board["value"], data.board["rank"], strict=True)]
    board = data.board.assign(entry=entries)
    order = list(dict.fromkeys(data.board["score"]))
    wide = board.pivot(index=["student", "teacher"], columns="score", values="entry")[order]
    lead = "car" if "car" in order else order[0]
    place = board[board["score"] == lead].set_index(["student", "teacher"])["rank"]
    wide = wide.assign(place=place).reset_index()
    wide["last"] = wide["student"] == OVERALL
    return wide.sort_values(["last", "student", "place"]).drop(columns=["last", "place"])


def _entry(value: float, rank: float) -> str:
    return "-" if pd.isna(value) else f"{value:.3g} ({rank:g})"
