"""Teachers side by side on the same prompts, and the paired bootstrap over those prompts.

A resample is a weight per prompt: how often it was drawn. All teachers, scores and student bases get the same weights,
so that a hard prompt is hard for all teachers and does not blur their order.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.core.seeds import derive_seed
from harness.teachers.api import Floats, TeacherScore, all_scores
from harness.teachers.parts import OK
from harness.teachers.settings import TeachersSettings

_BLOCK = 2**22
"""Weights that exist at once (32 MB)."""


@dataclass(frozen=True)
class Panel:
    """The ingredients of a score for a student base: P prompts, T teachers, K ingredients."""

    student: str
    score: TeacherScore
    teachers: tuple[str, ...]
    values: Floats
    """(P, T, K), 0 where not used."""
    used: Floats
    """(P, T), 1 where a teacher's response to a prompt counts, else 0."""
    total: int
    """Prompts that any teacher of this student has a row for."""

    @property
    def n(self) -> NDArray[np.int64]:
        """(T,) prompts that count."""
        n: NDArray[np.int64] = self.used.sum(axis=0).astype(np.int64)
        return n

    def means(self, weights: Floats) -> Floats:
        """(B, T, K) weighted means over prompts for weights (B, P); NaN for a teacher without weight."""
        sums = (weights @ self.values.reshape(len(self.values), -1)).reshape(len(weights), *self.values.shape[1:])
        with np.errstate(invalid="ignore"):
            means: Floats = sums / (weights @ self.used)[..., None]
        return means

    def observed(self, settings: TeachersSettings) -> Floats:
        """(T,) the score of each teacher; an error of the score names the teacher."""
        means = self.means(np.ones((1, len(self.values))))[0]
        return np.array([self._one(t, means[k], settings) for k, t in enumerate(self.teachers)])

    def _one(self, teacher: str, means: Floats, settings: TeachersSettings) -> float:
        try:
            return float(self.score.combine(means, settings))
        except HarnessError as error:
            what = f"{error.what} (teacher {teacher}, student {self.student})"
            raise HarnessError(what, where=error.where, fix=error.fix) from None


def build_panels(parts: pd.DataFrame, common: bool) -> list[Panel]:
    """A panel per (student, score) of `parts` (columns student, teacher, id, status and `<score>.<k>`).

    With `common`, a prompt counts only if every teacher has a scored response to it; teachers with no scored response
    at all are exempt from this rule. Students, teachers and prompts are sorted, so the order of rows does not matter.

    Raises:
        HarnessError: two rows for one prompt, or no prompt that all teachers share.
    """
    _refuse_doubles(parts)
    prompt_codes, prompts = pd.factorize(parts["id"], sort=True)
    panels = []
    for student, group in parts.assign(_prompt=prompt_codes).groupby("student", sort=True):
        teacher_codes, names_of = pd.factorize(group["teacher"], sort=True)
        teachers = tuple(str(t) for t in names_of)
        place = group["_prompt"].to_numpy(), teacher_codes
        total = group["id"].nunique()
        for score, names in _score_columns(parts):
            values = np.full((len(prompts), len(teachers), len(names)), np.nan)
            values[place] = np.where((group["status"] == OK).to_numpy()[:, None], group[names], np.nan)
            used = np.isfinite(values).all(axis=-1)
            if common:
                used &= used[:, used.any(axis=0)].all(axis=1, keepdims=True)
                _refuse_nothing_common(values, used, str(student), teachers)
            values[~used] = 0.0
            panels.append(Panel(str(student), score, teachers, values, used.astype(np.float64), total))
    return panels


def _score_columns(parts: pd.DataFrame) -> list[tuple[TeacherScore, list[str]]]:
    """Scores that have columns, with the columns in order."""
    scores = []
    for name, score in all_scores().items():
        names = sorted((c for c in parts.columns if c.rpartition(".")[0] == name), key=lambda c: int(c.split(".")[1]))
        if names:
            scores.append((score, names))
    return scores


def _refuse_doubles(parts: pd.DataFrame) -> None:
    twice = parts[parts.duplicated(["student", "teacher", "id"])]
    if len(twice):
        row = twice.iloc[0]
        raise HarnessError(
            f"two responses of the teacher {row['teacher']} to the prompt {row['id']!r}",
            where=f"student {row['student']}",
            fix="Give every prompt its own id.",
        )


def _refuse_nothing_common(values: Floats, used: np.ndarray, student: str, teachers: tuple[str, ...]) -> None:
    scored = np.isfinite(values).all(axis=-1).sum(axis=0)
    if used.any() or not scored.any():
        return
    fewest = int(np.argmin(np.where(scored > 0, scored, scored.max() + 1)))
    raise HarnessError(
        f"no prompt has a scored response of every teacher ({teachers[fewest]} has the fewest, {scored[fewest]})",
        where=f"student {student}",
        fix="Set teachers.common to false, or leave that teacher out.",
    )


def resample_weights(prompts: int, resamples: int, seed: int) -> Iterator[Floats]:
    """(B, P) weights in blocks, `resamples` rows in all: how often each of P prompts is drawn in P draws."""
    rng = np.random.default_rng(derive_seed(seed, "teachers", "prompts"))
    rows = max(1, _BLOCK // max(1, prompts))
    for start in range(0, resamples, rows):
        block = min(rows, resamples - start)
        draws = rng.integers(0, prompts, size=(block, prompts)) + prompts * np.arange(block)[:, None]
        yield np.bincount(draws.ravel(), minlength=block * prompts).reshape(block, prompts).astype(np.float64)


def rank_teachers(values: Floats, direction: str) -> Floats:
    """Ranks (..., T), 1 the best; equal values share the mean of their ranks, NaN gets NaN.

    Values that differ by less than 1e-10 of the largest count as equal, because equal responses may differ by rounding.
    """
    from scipy.stats import rankdata  # imported here, because it takes a second and few commands rank

    signed = values if direction == "lower" else -values
    if not signed.shape[-1]:
        return np.zeros(signed.shape)
    scale = np.max(np.abs(signed), axis=-1, keepdims=True, initial=0.0, where=np.isfinite(signed))
    rounded = np.round(signed / np.where(scale > 0, scale, 1.0), 10)
    ranks: Floats = rankdata(rounded, axis=-1, nan_policy="omit")
    return ranks


def first_shares(ranks: Floats) -> Floats:
    """(T,) share of the resamples (B, T) in which each teacher ranks first; teachers in a tie share it."""
    best = ranks == np.fmin.reduce(ranks, axis=-1, keepdims=True)
    shares: Floats = (best / np.maximum(best.sum(axis=-1, keepdims=True), 1)).mean(axis=0)
    return shares
