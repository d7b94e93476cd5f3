"""What the teachers page says in words: what was asked, what to know before reading, where the numbers come from."""

import math
import platform
from importlib.metadata import version

import pandas as pd

from harness.report import facts
from harness.report.teacher_tables import lead_score, score_title
from harness.report.teachers import TeacherData
from harness.teachers.leaderboard import OVERALL
from harness.teachers.settings import RewardSettings

FEW = 50
"""Prompts below which a leaderboard is called rough."""
_NAMED = 4


def asked(data: TeacherData) -> str:
    """One sentence: which teachers, for which student bases, by which scores, on how many prompts."""
    students, teachers = (list(dict.fromkeys(data.parts[k])) for k in ("student", "teacher"))
    scores = [score_title(str(s)) for s in dict.fromkeys(data.board["score"])]
    prompts = data.parts["id"].nunique()
    return (
        f"{_of(len(teachers), 'teacher')} for {_of(len(students), 'student base')} ({', '.join(map(str, students))}), "
        f"by their responses to {_of(prompts, 'prompt')}. Scores: {', '.join(scores)}. {reward(data.settings.reward)}"
    )


def _of(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def reward(settings: RewardSettings | None) -> str:
    """What the reward is, in words."""
    if settings is None:
        return "There is no reward, so no CAR."
    if settings.strength:
        return "The reward is each teacher's own strength, the same for all of its responses."
    if settings.judge:
        return "The reward is the recipe's judge's rating of each response."
    if settings.program:
        return "The reward is the share of right turns, by the pocket world's program."
    if settings.recorded is not None:
        return f"The reward is recorded: column {settings.recorded.column} of {settings.recorded.path.name}."
    if settings.trained is not None:
        trained = settings.trained
        return f"The reward is that of a reward model trained on {trained.pairs.name}, starting from {trained.base}."
    return f"The reward is that of the reward model {settings.model}."


def warnings(data: TeacherData, trained: bool) -> list[str]:
    """What a reader must know before believing a rank."""
    found = list(data.left_out)
    if data.settings.reward is not None and data.settings.reward.strength:
        found.append(_reward_warning())
    if not trained:
        found.append(
            "Nothing was trained on these responses, so nothing here says that a score is right: a rank is a score's "
            "opinion, and its interval says only how far other prompts would move it."
        )
    found += [*_prompt_warnings(data), *_count_warnings(data.counts), *_sweep_warnings(data), *_unranked(data)]
    return found


def _reward_warning() -> str:
    return (
        "The reward is each teacher's own strength: known before any response was read, and not an outcome. CAR then "
        "says which strong teacher writes what the student finds likely, not which makes the better student."
    )


def _prompt_warnings(data: TeacherData) -> list[str]:
    """A sentence each, for all the student bases that it is true of."""
    found: dict[str, list[str]] = {}
    for student, rows in data.counts.groupby("student", sort=True):
        common, prompts = int(rows["common"].iloc[0]), int(rows["prompts"].iloc[0])
        said = []
        if not data.settings.common:
            common = prompts
            said.append("each teacher is scored on its own prompts, so teachers differ in what was asked.")
        elif common < prompts:
            said.append(f"teachers are compared on {common} of {prompts} prompts, those that all answered.")
        if common < FEW:
            said.append(f"fewer than {FEW} prompts. Look at the intervals before any rank.")
        for what in said:
            found.setdefault(what, []).append(str(student))
    return [f"{', '.join(students)}: {what}" for what, students in found.items()]


def _count_warnings(counts: pd.DataFrame) -> list[str]:
    words = {
        "missing": "have no response",
        "empty": "have an empty response",
        "other": "have a response that could not be scored",
        "cut": "have a response that was cut short and is scored up to there",
        "refused": "were refused, and count as any response",
    }
    found = []
    for key, what in words.items():
        worst = counts.groupby("teacher", sort=False)[key].max().dropna().astype(int)
        worst = worst[worst > 0].sort_values(ascending=False, kind="stable")
        if len(worst):
            prompts = int(counts["prompts"].max())
            found.append(f"Of {prompts} prompts, some {what}: {_named(worst)}.")
    return found


def _named(worst: "pd.Series[int]") -> str:
    shown = ", ".join(f"{teacher} {n}" for teacher, n in worst.iloc[:_NAMED].items())
    more = len(worst) - _NAMED
    return shown + (f" and {_of(more, 'more teacher')} (see the counts)" if more > 0 else "")


def _sweep_warnings(data: TeacherData) -> list[str]:
    if data.sweep is None:
        return []
    return [
        f"{r['student']}: {r['teacher']} is first by CAR at β = {r['beta']:g}, but only for β "
        f"{_range(r['low'], r['high'])}. The paper does not print β."
        for r in data.sweep.top.to_dict("records")
        if r["share"] < 1
    ]


def _range(low: float, high: float) -> str:
    if math.isinf(high):
        return f"above {low:.3g}"
    return f"below {high:.3g}" if low == 0 else f"from {low:.3g} to {high:.3g}"


def _unranked(data: TeacherData) -> list[str]:
    lead = lead_score(data.board)
    without = data.board[(data.board["score"] == lead) & data.board["value"].isna()]
    return [
        f"{student}: no {score_title(lead)}, hence no rank, for {', '.join(map(str, rows['teacher']))}."
        for student, rows in without.groupby("student", sort=True)
        if student != OVERALL
    ]


def top(data: TeacherData) -> list[str]:
    """How stable the top is, a sentence per student base."""
    if data.sweep is None:
        return []
    swept = data.sweep.frame["beta"]
    return [
        f"{r['student']}: {r['teacher']} is first at β = {r['beta']:g} in {100 * r['first']:.0f} % of resamples, and "
        + (
            "at every β."
            if r["low"] == 0 and math.isinf(r["high"])
            else f"stays first for β {_range(r['low'], r['high'])},"
        )
        + f" {100 * r['share']:.0f} % of the swept range {swept.min():g} to {swept.max():g}."
        for r in data.sweep.top.to_dict("records")
    ]


def provenance(data: TeacherData) -> list[tuple[str, str]]:
    """Where the numbers come from; the versions are the run's where it says, else those that made this page."""
    if data.run is not None:
        return facts.provenance(data.run)
    packages = ("numpy", "scipy", "pandas", "matplotlib")
    versions = ", ".join([f"python {platform.python_version()}", *(f"{p} {version(p)}" for p in packages)])
    return [("run", data.name), ("versions that made this page", versions)]
