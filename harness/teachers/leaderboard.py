"""The leaderboard: every score of every teacher for every student base, with intervals of score and rank.

Intervals are the 2.5 % and 97.5 % percentiles of the paired bootstrap over prompts. They say how far other prompts
would have moved a score or a rank, not how well the score predicts a student, which validation tests. Where teachers
are close, resampled ranks lie nearer to the middle than the observed rank, so a first rank may stand at the edge of its
interval.
"""

import warnings

import numpy as np
import pandas as pd

from harness.core.errors import HarnessError
from harness.teachers.api import Floats
from harness.teachers.panel import Panel, build_panels, first_shares, rank_teachers, resample_weights
from harness.teachers.settings import TeachersSettings

OVERALL = "overall"
"""The `student` of the rows over all bases."""
COLUMNS = (
    "student",
    "teacher",
    "score",
    "value",
    "low",
    "high",
    "rank",
    "rank_low",
    "rank_high",
    "first",
    "n",
    "total",
    "unit",
    "direction",
)


def leaderboard(parts: pd.DataFrame, settings: TeachersSettings, seed: int = 0, resamples: int = 2000) -> pd.DataFrame:
    """Scores and ranks (COLUMNS), a row per (student, teacher, score) and per (`overall`, teacher, score).

    `parts` is the result of `score_parts` with columns student and teacher. rank: 1 is best, ties share their mean
    rank; rank_low and rank_high are its bootstrap interval; first is the share of resamples in which the teacher ranks
    first (ties share it). n of total prompts count: with `settings.common`, the prompts common to the teachers. Over
    all bases the value is the mean of the teacher's ranks, because scores of different bases have no common scale; n of
    total counts the bases that rank the teacher, and a teacher that is not ranked on all of them has no value. An
    unknown number (nothing scored, an interval of one prompt) is null; a teacher without a value has no rank.

    Raises:
        HarnessError: no prompt is common to the teachers, two rows for one prompt, a score that refuses its input.
    """
    if (parts["student"] == OVERALL).any():
        raise HarnessError(f"a student cannot be called {OVERALL!r}", where="student", fix="Rename it.")
    panels = build_panels(parts, settings.common)
    if not panels:
        return pd.DataFrame(columns=list(COLUMNS))
    values = [panel.observed(settings) for panel in panels]
    replicates = _replicates(panels, settings, seed, resamples)
    rows: list[pd.DataFrame] = []
    ranked: dict[str, list[tuple[Panel, Floats, Floats]]] = {}
    for panel, value, resampled in zip(panels, values, replicates, strict=True):
        score = panel.score
        frame, ranks, resampled_ranks = _summary(value, resampled, score.direction, panel.n)
        rows.append(
            frame.assign(
                student=panel.student,
                teacher=panel.teachers,
                score=score.name,
                unit=score.unit,
                direction=score.direction,
                n=panel.n,
                total=panel.total,
            )
        )
        ranked.setdefault(score.name, []).append((panel, ranks, resampled_ranks))
    rows += [_overall(name, bases) for name, bases in ranked.items()]
    board = pd.concat(rows)
    board["last"] = board["student"] == OVERALL
    order = ["last", "student", "score", "rank", "teacher"]
    return board.sort_values(order, ignore_index=True)[list(COLUMNS)]


def resampled_scores(
    parts: pd.DataFrame, settings: TeachersSettings, seed: int = 0, resamples: int = 2000
) -> pd.DataFrame:
    """student, teacher, score, and `resamples` (for `validation.validate`): the score's values (B,) on resampled
    prompts, the same for all teachers. `leaderboard` draws the same prompts from the same `parts` and seed."""
    panels = build_panels(parts, settings.common)
    rows = [
        (panel.student, teacher, panel.score.name, values[:, k])
        for panel, values in zip(panels, _replicates(panels, settings, seed, resamples) if panels else [], strict=True)
        for k, teacher in enumerate(panel.teachers)
    ]
    return pd.DataFrame(rows, columns=["student", "teacher", "score", "resamples"])


def _replicates(panels: list[Panel], settings: TeachersSettings, seed: int, resamples: int) -> list[Floats]:
    """(B, T) resampled scores of each panel, all with the same weights."""
    blocks: list[list[Floats]] = [[] for _ in panels]
    for weights in resample_weights(len(panels[0].values), resamples, seed):
        for panel, scores in zip(panels, blocks, strict=True):
            scores.append(panel.score.combine(panel.means(weights), settings))
    return [np.concatenate(scores) for scores in blocks]


def _summary(value: Floats, resampled: Floats, direction: str, n: np.ndarray) -> tuple[pd.DataFrame, Floats, Floats]:
    """Values, ranks and their intervals for T teachers; the ranks (T,) and the resampled ranks (B, T)."""
    ranks, resampled_ranks = rank_teachers(value, direction), rank_teachers(resampled, direction)
    low, high = _percentiles(resampled, "linear")
    rank_low, rank_high = _percentiles(resampled_ranks, "inverted_cdf")
    frame = pd.DataFrame(
        {
            "value": value,
            "low": low,
            "high": high,
            "rank": ranks,
            "rank_low": rank_low,
            "rank_high": rank_high,
            "first": first_shares(resampled_ranks),
        }
    )
    intervals = ["low", "high", "rank_low", "rank_high", "first"]
    frame.loc[np.isnan(value), intervals] = np.nan
    frame.loc[n < 2, intervals] = np.nan
    return frame, ranks, resampled_ranks


def _percentiles(resampled: Floats, method: str) -> tuple[Floats, Floats]:
    """The 2.5 % and 97.5 % percentiles over resamples (B, T), each (T,)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a teacher with nothing scored is NaN in every resample
        low, high = np.nanquantile(resampled, [0.025, 0.975], axis=0, method=method)  # type: ignore[call-overload]
    return low, high


def _overall(name: str, bases: list[tuple[Panel, Floats, Floats]]) -> pd.DataFrame:
    """Teachers by their mean rank over the student bases."""
    teachers = sorted({t for panel, _, _ in bases for t in panel.teachers})
    ranks = np.full((len(bases), len(teachers)), np.nan)
    resampled = np.full((len(bases), len(bases[0][2]), len(teachers)), np.nan)
    for k, (panel, base_ranks, base_resampled) in enumerate(bases):
        columns = [teachers.index(t) for t in panel.teachers]
        ranks[k, columns] = base_ranks
        resampled[k][:, columns] = base_resampled
    prompts = np.array([min(p.n[p.teachers.index(t)] if t in p.teachers else 0 for p, _, _ in bases) for t in teachers])
    frame, _, _ = _summary(ranks.mean(axis=0), resampled.mean(axis=0), "lower", prompts)
    return frame.assign(
        student=OVERALL,
        teacher=teachers,
        score=name,
        unit="mean rank",
        direction="lower",
        n=np.isfinite(ranks).sum(axis=0),
        total=len(bases),
    )
