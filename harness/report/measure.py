"""One number of one row: its estimate, interval, coverage and marks, from samples where their mean is the score."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.bench.audit import REFERENCE, scored_rows
from harness.core.errors import HarnessError
from harness.generate.api import Ending
from harness.record.run import CellRecord, MetricRecord
from harness.report.groups import Group
from harness.report.load import DRAW_AXIS, REPLICATES, RunData
from harness.stats.audit import Judged, audited_difference
from harness.stats.intervals import (
    Difference,
    draw_means,
    mean_interval,
    p_value,
    paired_difference,
    prediction,
    shared_draws,
)
from harness.stats.spread import Rows, SeedTerm, Spread, Term

OVERALL = "overall"

COVERAGE = "coverage"
UNCALIBRATED = "uncalibrated"
UNINFORMATIVE = "uninformative"
SEEDS = "seeds"
ONE_SEED = "one seed"
ONE_DRAW = "one draw"
SAME_FAMILY = "same family"
TRANSFERRED = "transferred"
UNPROVEN = "not proven"

MARKS = {
    COVERAGE: ("†", "fewer samples were scored than the coverage floor asks: not ranked, not tested"),
    UNCALIBRATED: (
        "‡",
        "the judge is not calibrated: its scores order models at best, they are not comparable elsewhere",
    ),
    UNINFORMATIVE: (
        "‖",
        "the judge hardly agrees with the verdicts it was calibrated against: not ranked, not tested",
    ),
    SEEDS: ("§", "some seeds failed: the mean is over the others"),
    ONE_SEED: ("¶", "one seed: the interval is over questions only and says nothing about training again"),
    ONE_DRAW: ("△", "one teacher or one sample of data: the interval says nothing about others"),
    SAME_FAMILY: (
        "∗",
        "a judge is of the family of this row's student or teacher, whose answers it may favour (self-preference)",
    ),
    TRANSFERRED: ("#", "transferred: right only if the judge errs here as on the recorded models' answers"),
    UNPROVEN: ("◊", "the transfer held for too few recorded models, or few are recorded: not ranked"),
}
"""Mark -> (symbol, what it means)."""
NOT_RANKED = frozenset({COVERAGE, UNINFORMATIVE})
"""Marks of a score that is shown and decides nothing."""


@dataclass(frozen=True)
class Estimate:
    """A score of one row, in the metric's unit."""

    value: float | None
    low: float | None
    high: float | None
    stderr: float | None
    n: int
    total: int
    seeds: int
    marks: tuple[str, ...] = ()
    best: bool = False
    decimals: int | None = None
    """How many to print, where its column has settled that."""


class Measures:
    """Scores and differences of a run, from samples where the metric says that their mean is the score."""

    def __init__(self, run: RunData) -> None:
        self.run = run
        self._estimates: dict[tuple[tuple[str, ...], MetricRecord, str], Estimate | None] = {}
        self._scored: dict[tuple[str, str, str], tuple[Rows, NDArray[Any], NDArray[Any]]] = {}

    @cached_property
    def _draws(self) -> Mapping[str, str]:
        """The draw of each cell; the same where there are no draws."""
        return {cell.cell: cell.labels.get(DRAW_AXIS, "") for cell in self.run.cells}

    @cached_property
    def _samples(self) -> dict[tuple[str, str, str], pd.DataFrame]:
        keys = ["cell", "benchmark", "metric"]
        return {tuple(map(str, k)): f for k, f in self.run.samples.groupby(keys, sort=False)}  # type: ignore[misc]

    @cached_property
    def _scores(self) -> dict[tuple[str, str, str, str], "pd.Series[float]"]:
        rows = self.run.scores.drop_duplicates(["cell", "benchmark", "metric", "category"], keep="last")
        keys = zip(rows["cell"], rows["benchmark"], rows["metric"], rows["category"], strict=True)
        return dict(zip(keys, (row for _, row in rows.iterrows()), strict=True))

    @cached_property
    def _endings(self) -> Mapping[tuple[str, str], Counter[Ending]]:
        """How many answers of each benchmark and cell ended in which way."""
        if "ending" not in self.run.samples:
            return {}
        answers = self.run.samples.dropna(subset="ending").drop_duplicates(["benchmark", "cell", "item", "turn"])
        grouped = answers.groupby(["benchmark", "cell"], sort=False)["ending"]
        return {(str(benchmark), str(cell)): Counter(ends) for (benchmark, cell), ends in grouped}

    def endings(self, group: Group, benchmark: str) -> Counter[Ending]:
        """How many of a row's answers on a benchmark ended in which way; empty where the run does not say."""
        return sum((self._endings.get((benchmark, cell), Counter()) for cell in group.replicates()), Counter())

    def incomplete(self, group: Group, benchmark: str) -> float | None:
        """The share of a row's answers that were cut, are empty or are unfinished, in %; None where it is unknown."""
        ends = self.endings(group, benchmark)
        return 100 * (ends["cut"] + ends["empty"] + ends["unfinished"]) / ends.total() if ends else None

    def rows(self, cell: str, metric: MetricRecord, category: str = OVERALL) -> Rows:
        """The scored samples of one cell, in the metric's unit; empty where its scores are not means of samples."""
        key = (cell, metric.benchmark, metric.metric)
        if key not in self._samples or not metric.mean:
            return Rows(np.array([]), np.array([]), np.array([]))
        if key not in self._scored:
            self._scored[key] = _scored(self._samples[key], self._draws[cell])
        rows, turns, categories = self._scored[key]
        if category == OVERALL:
            return rows
        kept = turns == int(category[5:]) if category.startswith("turn_") else categories == category
        return rows.where(kept)

    def estimate(self, group: Group, metric: MetricRecord, category: str = OVERALL) -> Estimate | None:
        """The row's score; None where the run has none at all for it."""
        key = (tuple(group.replicates()), metric, category)
        if key not in self._estimates:
            self._estimates[key] = self._estimate(group, metric, category)
        return self._estimates[key]

    def _estimate(self, group: Group, metric: MetricRecord, category: str) -> Estimate | None:
        found = [
            (cell, self._scores.get((cell, metric.benchmark, metric.metric, category))) for cell in group.replicates()
        ]
        scores = [(cell, score) for cell, score in found if score is not None]
        if not scores:
            return None
        n, total = (sum(int(score[key]) for _, score in scores) for key in ("n", "total"))
        marks = self._marks(group, metric, n, total, len(scores))
        scored = [(cell, score) for cell, score in scores if pd.notna(score["value"])]
        if not scored:
            return Estimate(None, None, None, None, n, total, len(scores), marks)
        of_draws = self._draw_means([cell for cell, _ in scored], metric, category)
        value = float(np.mean(list(of_draws.values())))
        whole = metric.hit if metric.binary or metric.rate else 1.0
        replicates = [self.rows(cell, metric, category) for cell, _ in scored]
        shares = [replace(r, values=r.values / whole) for r in replicates]
        interval = mean_interval(shares, proportion=metric.binary, rate=metric.rate)
        if interval is not None:
            if not np.isclose(interval.value * whole, value, rtol=1e-6, atol=1e-9):
                raise HarnessError(
                    f"{metric.benchmark}: {metric.metric} of {group.title} is not the mean of its samples, as the "
                    "metric declares",
                    where=self.run.name,
                    fix="Let the benchmark give samples in the metric's unit and raise its version, then run again.",
                )
            low, high, stderr = (
                None if bound is None else bound * whole for bound in (interval.low, interval.high, interval.stderr)
            )
            return Estimate(value, low, high, stderr, n, total, len(scored), marks)
        term = _score_spread([score for _, score in scored], of_draws).widest()
        half = term.half_width() if term and term.variance > 0 else None
        low, high = (None, None) if half is None else (value - half, value + half)
        stderr = float(np.sqrt(term.variance)) if term else None
        return Estimate(value, low, high, stderr, n, total, len(scored), marks)

    def _marks(self, group: Group, metric: MetricRecord, n: int, total: int, seeds: int) -> tuple[str, ...]:
        marks = []
        if total == 0 or n / total < self.run.settings.coverage_floor:
            marks.append(COVERAGE)
        judges = [j for j in self.run.judges if j.benchmark == metric.benchmark and metric.judge in ("", j.judge)]
        if not metric.audits and any(j.calibrated is False for j in judges):
            marks.append(UNCALIBRATED)
        if not metric.audits and any(j.uninformative for j in judges):
            marks.append(UNINFORMATIVE)
        if self._same_family(group, metric, {j.judge for j in judges}):
            marks.append(SAME_FAMILY)
        if seeds < len(group.replicates()):
            marks.append(SEEDS)
        if seeds == 1 and not group.baseline and self.replicated:
            marks.append(ONE_SEED)
        return tuple(marks)

    def _same_family(self, group: Group, metric: MetricRecord, judges: Set[str]) -> bool:
        """Whether one of the judges behind a score, of an audited one the reference, is of the row's own family."""
        references = {a.reference for a in self.run.audits if a.benchmark == metric.benchmark}
        asked = references if metric.audits else judges
        kin = {(row.cell, row.benchmark) for row in self.run.same_family if row.judge in asked}
        return any((cell, metric.benchmark) in kin for cell in group.replicates())

    def scored(self, group: Group, metric: MetricRecord) -> list[CellRecord]:
        """The replicates of a row that have a score."""
        names = {cell for cell in group.replicates() if self._has_score(cell, metric)}
        return [cell for cell in group.cells if cell.cell in names]

    def _has_score(self, cell: str, metric: MetricRecord) -> bool:
        score = self._scores.get((cell, metric.benchmark, metric.metric, OVERALL))
        return score is not None and bool(pd.notna(score["value"]))

    @property
    def replicated(self) -> bool:
        """Whether the run has several seeds or draws."""
        return any(len(self.run.axes.get(axis, ())) > 1 for axis in REPLICATES)

    def difference(self, first: Group, second: Group, metric: MetricRecord) -> Difference | None:
        """Paired over questions where the score is the mean of its samples, else from the scores' own standard errors;
        paired over draws where both rows have several.

        None where either row has no score, is below the coverage floor or was judged by an uninformative judge.
        """
        estimates = [self.estimate(g, metric) for g in (first, second)]
        if any(e is None or e.value is None or NOT_RANKED & set(e.marks) for e in estimates):
            return None
        if metric.audits:
            return self._audited_difference(first, second, metric)
        one, other = ([r for c in g.replicates() if len((r := self.rows(c, metric)).values)] for g in (first, second))
        if one and other:
            return paired_difference(one, other)
        return self._from_scores(first, second, metric)

    def _audited_difference(self, first: Group, second: Group, metric: MetricRecord) -> Difference | None:
        """The audit of the difference, from both judges' samples."""
        live = metric.live
        reference = replace(live, metric=live.metric + REFERENCE)
        one, other = (
            [Judged(self.rows(cell, live), self.rows(cell, reference)) for cell in group.replicates()]
            for group in (first, second)
        )
        return audited_difference(one, other)

    def _from_scores(self, first: Group, second: Group, metric: MetricRecord) -> Difference:
        key = (metric.benchmark, metric.metric, OVERALL)
        cells = [[c for c in g.replicates() if (c, *key) in self._scores] for g in (first, second)]
        scores = [[self._scores[c, *key] for c in group] for group in cells]
        means = [self._draw_means(group, metric, OVERALL) for group in cells]
        parts = [_score_spread(s, of_draws) for s, of_draws in zip(scores, means, strict=True)]
        items = [p.items for p in parts if p.items]
        both = Term(sum(t.variance for t in items), min(t.df for t in items)) if len(items) == 2 else None
        if paired := shared_draws(*map(list, means)):
            by_draw = np.array([means[0][draw] - means[1][draw] for draw in paired])
            value, spread = float(by_draw.mean()), Spread(both, (_replicate_term(by_draw),))
        else:
            value = float(np.mean(list(means[0].values())) - np.mean(list(means[1].values())))
            spread = Spread(both, tuple(s for p in parts for s in p.seeds))
        term, p = spread.widest(), p_value(value, spread)
        half = term.half_width() if term and p is not None else None
        low, high = (None, None) if half is None else (value - half, value + half)
        stderr = float(np.sqrt(term.variance)) if term and p is not None else None
        seeds = (len(scores[0]), len(scores[1]))
        new_draw = prediction(by_draw) if paired else None
        df = term.df if term else None
        return Difference(value, low, high, stderr, df, p, seeds, 0, spread, len(paired), new_draw)

    def replicate_scores(self, group: Group, metric: MetricRecord) -> list[float]:
        """The row's score in each draw; with each seed where it has a single draw."""
        cells = [cell.cell for cell in self.scored(group, metric)]
        of_draws = self._draw_means(cells, metric, OVERALL)
        if len(of_draws) > 1:
            return list(of_draws.values())
        return [float(self._scores[cell, metric.benchmark, metric.metric, OVERALL]["value"]) for cell in cells]

    def _draw_means(self, cells: Sequence[str], metric: MetricRecord, category: str) -> dict[str, float]:
        """Draw -> the mean score of the cells that belong to it."""
        scores = [self._scores[cell, metric.benchmark, metric.metric, category] for cell in cells]
        return draw_means([float(score["value"]) for score in scores], [self._draws[cell] for cell in cells])

    def item_sd(self, metric: MetricRecord, groups: Sequence[Group]) -> float | None:
        """The standard deviation between questions, averaged over rows: the yardstick of a small effect.

        Of an audited metric it is the live judge's: its own samples vary with the share that is audited.
        """
        metric = metric.live
        found = []
        for group in groups:
            rows = self.rows(group.cells[0].cell, metric)
            if len(rows.values):
                _, cluster = np.unique(rows.clusters.astype(str), return_inverse=True)
                means = np.bincount(cluster, rows.values) / np.bincount(cluster)
                found.append(float(means.std(ddof=1)) if len(means) > 1 else np.nan)
        return float(np.nanmean(found)) if np.isfinite(found).any() else None


def _scored(frame: pd.DataFrame, draw: str) -> tuple[Rows, NDArray[Any], NDArray[Any]]:
    """The rows of a cell's samples that have a value, and the turn and category of each."""
    frame = frame[frame["value"].notna()]
    return replace(scored_rows(frame), draw=draw), frame["turn"].to_numpy(), frame["category"].to_numpy(dtype=object)


def _score_spread(scores: Sequence["pd.Series[float]"], of_draws: Mapping[str, float]) -> Spread:
    """The spread of a mean of scores that are no means of samples; replicates share questions: that part does not
    shrink. `of_draws` are the scores' means by draw."""
    errors = [float(s["stderr"]) for s in scores if pd.notna(s["stderr"])]
    items = None
    if len(errors) == len(scores):
        items = Term(float(np.mean(np.square(errors))), max(1.0, float(min(s["n"] for s in scores)) - 1))
    if len(scores) < 2:
        return Spread(items)
    values = list(of_draws.values()) if len(of_draws) > 1 else [float(s["value"]) for s in scores]
    return Spread(items, (_replicate_term(np.array(values)),))


def _replicate_term(values: NDArray[np.float64]) -> SeedTerm:
    """The part of replicates whose scores are no means of samples, so that nothing is known of the noise in them."""
    return SeedTerm(Term(float(values.var(ddof=1)) / len(values), len(values) - 1), Term(0.0, 1.0))
