"""How much the CAR leaderboard depends on beta, which the paper does not print.

Two teachers swap where r1 (1 + beta L2) = r2 (1 + beta L1), at beta = (r1 - r2) / (r2 L1 - r1 L2): at most once, since
both sides are linear in beta. So each teacher is first on at most one interval of beta, which has a closed form.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.core.errors import HarnessError
from harness.teachers.api import Floats
from harness.teachers.panel import Panel, build_panels, first_shares, rank_teachers, resample_weights
from harness.teachers.settings import TeachersSettings

SWEEP_COLUMNS = ("student", "beta", "teacher", "car", "rank", "first")
CROSSING_COLUMNS = ("student", "before", "after", "beta")
TOP_COLUMNS = ("student", "teacher", "beta", "low", "high", "share", "first")


@dataclass(frozen=True)
class CarSweep:
    """CAR over a range of beta."""

    frame: pd.DataFrame
    """SWEEP_COLUMNS: CAR and rank at each beta; first: share of resamples of the prompts with the teacher on top."""
    crossings: pd.DataFrame
    """CROSSING_COLUMNS: `before` leads `after` below this beta and trails above it. All crossings at beta > 0 are here,
    also those outside the sweep."""
    top: pd.DataFrame
    """TOP_COLUMNS, a row per student: the teacher that is first at the settings' beta; low and high: the range of beta
    (high may be infinite) on which it stays first; share: the share of the swept range within it; first: the share of
    resamples in which the teacher is first at the settings' beta."""


def car_sweep(
    parts: pd.DataFrame,
    settings: TeachersSettings,
    betas: Sequence[float] | None = None,
    seed: int = 0,
    resamples: int = 2000,
) -> CarSweep:
    """Sweep beta over `betas` (by default the settings') on the leaderboard's prompts and resamples.

    Raises:
        HarnessError: no CAR in `parts`, a negative beta, a negative mean reward without a shift.
    """
    panels = [p for p in build_panels(parts, settings.common) if p.score.name == "car" and p.used.any()]
    if not panels:
        raise HarnessError("there is no CAR to sweep", where="teachers.scores", fix="Name a reward and the score car.")
    swept = sorted(set(settings.car.sweep if betas is None else betas))
    if not swept or swept[0] < 0 or not np.isfinite(swept).all():
        raise HarnessError("beta is a number of at least 0", where="teachers.car.sweep", fix="Name at least one beta.")
    frames, crossings, tops = [], [], []
    for panel in panels:
        every = sorted({*swept, settings.car.beta})
        scores = _at_each(panel, settings, every, seed, resamples)
        frames.append(scores[scores["beta"].isin(swept)])
        reward, loss = _observed(panel, settings)
        crossings.append(_crossings(panel, reward, loss))
        tops.append(_top(panel, scores[scores["beta"] == settings.car.beta], reward, loss, (swept[0], swept[-1])))
    return CarSweep(
        pd.concat(frames, ignore_index=True),
        pd.concat(crossings, ignore_index=True),
        pd.DataFrame(tops, columns=list(TOP_COLUMNS)),
    )


def _at_each(
    panel: Panel, settings: TeachersSettings, betas: Sequence[float], seed: int, resamples: int
) -> pd.DataFrame:
    """SWEEP_COLUMNS of a student."""
    means = np.concatenate([panel.means(w) for w in resample_weights(len(panel.values), resamples, seed)])
    frames = []
    for beta in betas:
        at = settings.model_copy(update={"car": settings.car.model_copy(update={"beta": beta})})
        car = panel.observed(at)
        first = first_shares(rank_teachers(panel.score.combine(means, at), "higher"))
        frame = pd.DataFrame({"teacher": panel.teachers, "car": car, "rank": rank_teachers(car, "higher")})
        frame["first"] = np.where(np.isnan(car), np.nan, first)
        frames.append(frame.assign(student=panel.student, beta=beta).sort_values(["rank", "teacher"]))
    return pd.concat(frames)[list(SWEEP_COLUMNS)]


def _observed(panel: Panel, settings: TeachersSettings) -> tuple[Floats, Floats]:
    """(T,) mean shifted rewards and (T,) mean losses, rounded so that a last bit does not swap equal teachers."""
    means = np.round(panel.means(np.ones((1, len(panel.values))))[0], 12)
    return means[:, 0] + (settings.car.shift or 0.0), means[:, 1]


def _gain(reward: Floats, loss: Floats, a: int, b: int) -> float:
    """a's gain on b per unit of beta: r_a (1 + beta L_b) - r_b (1 + beta L_a) = (r_a - r_b) + beta * gain."""
    return float(reward[a] * loss[b] - reward[b] * loss[a])


def _crossings(panel: Panel, reward: Floats, loss: Floats) -> pd.DataFrame:
    """CROSSING_COLUMNS of a student; the larger reward leads below the crossing, because CAR is r at beta 0."""
    rows = []
    for a in range(len(reward)):
        for b in np.flatnonzero(reward[a] > reward):
            gain = _gain(reward, loss, a, int(b))
            if gain < 0:
                rows.append((panel.student, panel.teachers[a], panel.teachers[b], (reward[a] - reward[b]) / -gain))
    return pd.DataFrame(rows, columns=list(CROSSING_COLUMNS)).sort_values(["beta", "before", "after"])


def _top(
    panel: Panel, scores: pd.DataFrame, reward: Floats, loss: Floats, swept: tuple[float, float]
) -> dict[str, object]:
    """A row of TOP_COLUMNS. If teachers tie for the first place, the row is of the first by name."""
    best, low, high = scores.iloc[0], 0.0, float("inf")
    beta, top = float(best["beta"]), panel.teachers.index(best["teacher"])
    for other in range(len(reward)):
        gain = _gain(reward, loss, top, other)
        if gain > 0:
            low = max(low, (reward[other] - reward[top]) / gain)
        elif gain < 0:
            high = min(high, (reward[top] - reward[other]) / -gain)
    inside = max(0.0, min(high, swept[1]) - max(low, swept[0]))
    share = inside / (swept[1] - swept[0]) if swept[1] > swept[0] else float(low <= swept[0] <= high)
    return {
        "student": panel.student,
        "teacher": best["teacher"],
        "beta": beta,
        "low": low,
        "high": high,
        "share": share,
        "first": best["first"],
    }
