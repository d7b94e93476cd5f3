"""The report's tables as objects; `render_table` turns each into Markdown, CSV, LaTeX and HTML."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from harness.record.run import MetricRecord
from harness.report.groups import Group, group_cells
from harness.report.load import RunData
from harness.report.measure import MARKS, NOT_RANKED, OVERALL, Estimate, Measures
from harness.report.numbers import digits


@dataclass(frozen=True)
class Column:
    """A column: its key in CSV files, its title for readers, its unit."""

    key: str
    title: str
    unit: str = ""
    kind: Literal["text", "number", "estimate", "p", "words"] = "text"
    group: str = ""
    """A heading above several columns."""


@dataclass(frozen=True)
class Shown:
    """A number in words of its own, such as a rank with its interval; sorted, and kept in CSV files, by its value."""

    value: float | None
    text: str


Entry = str | float | Estimate | Shown | None


@dataclass(frozen=True)
class Table:
    """Columns, rows and what a reader must know beside them."""

    name: str
    """The stem of its files."""
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()
    rules: tuple[int, ...] = ()
    """Row numbers that begin a new block, such as the sweep after its baselines."""

    def frame(self) -> pd.DataFrame:
        """Plain values, an estimate spread over columns: what CSV and JSON hold."""
        records = []
        for row in self.rows:
            record: dict[str, object] = {}
            for column, entry in zip(self.columns, row, strict=True):
                if column.kind != "estimate":
                    record[column.key] = entry.value if isinstance(entry, Shown) else entry
                    continue
                shown = entry if isinstance(entry, Estimate) else None
                for part in ("value", "low", "high", "stderr", "n", "total", "seeds"):
                    record[column.key if part == "value" else f"{column.key}_{part}"] = getattr(shown, part, None)
                record[f"{column.key}_marks"] = ", ".join(shown.marks) if shown else ""
            records.append(record)
        return pd.DataFrame(records)


def headline_table(run: RunData, measures: Measures) -> Table:
    """One row per cell, seeds grouped; one estimate per headline metric."""
    metrics = [m for m in run.metrics if m.headline]
    groups = group_cells(run)
    columns = [_metric_column(m, run) for m in metrics]
    grid = [[measures.estimate(g, m) for m in metrics] for g in groups]
    return _rows_of_groups("scores", "Scores", groups, columns, _finish_columns(grid, metrics, groups), run)


def category_table(run: RunData, measures: Measures, metric: MetricRecord) -> Table | None:
    """One row per cell, one estimate per category (and turn) of a metric; None where it has no categories."""
    mine = (run.scores["benchmark"] == metric.benchmark) & (run.scores["metric"] == metric.metric)
    names = [str(c) for c in run.scores.loc[mine, "category"].drop_duplicates() if c != OVERALL]
    if len(names) < 2:
        return None
    names.sort(key=lambda c: not c.startswith("turn_"))
    groups = group_cells(run)
    columns = [Column(c, c.replace("_", " "), "", "estimate") for c in names]
    grid = [[measures.estimate(g, metric, c) for c in names] for g in groups]
    name = f"{metric.benchmark}_{metric.metric}_categories"
    title = f"{metric_title(metric, run)} by category, {metric.unit}"
    return _rows_of_groups(name, title, groups, columns, _finish_columns(grid, [metric] * len(names), groups), run)


_NAMES = {"mt_bench": "MT-Bench", "alpaca_eval": "AlpacaEval", "arena_hard": "Arena-Hard", "lm_eval": "lm-eval"}


def benchmark_title(name: str) -> str:
    """A benchmark as its authors write it."""
    return _NAMES.get(name, name.replace("_", " "))


def metric_title(metric: MetricRecord, run: RunData) -> str:
    """`mt_bench`, or `pocket domain` where the benchmark has several headline metrics."""
    several = sum(m.benchmark == metric.benchmark and m.headline for m in run.metrics) > 1
    name = benchmark_title(metric.benchmark)
    titled = (metric.audits or metric.shared).replace("_", " ")
    title = f"{name} {titled}" if several or not metric.headline else name
    return f"{title}{', audited' * bool(metric.audits)}{f', by {metric.judge}' if metric.judge else ''}"


def _metric_column(metric: MetricRecord, run: RunData) -> Column:
    arrow = "" if metric.direction == "higher" else ", lower is better"
    return Column(f"{metric.benchmark}_{metric.metric}", metric_title(metric, run), metric.unit + arrow, "estimate")


def _rows_of_groups(
    name: str,
    title: str,
    groups: Sequence[Group],
    columns: Sequence[Column],
    grid: Sequence[Sequence[Estimate | None]],
    run: RunData,
) -> Table:
    axes = [a for a in run.axes if any(a == axis for g in groups for axis, _ in g.labels)]
    lead = [Column(a, a.replace("_", " ")) for a in axes] or [Column("cell", "cell")]
    rows = [(*_labels(g, axes), *estimates) for g, estimates in zip(groups, grid, strict=True)]
    baselines = sum(g.baseline for g in groups)
    seeds = max((len(g.replicates()) for g in groups), default=1)
    bold = any(e is not None and e.best for row in grid for e in row)
    notes = [
        "Brackets: 95 % intervals"
        + (" over questions and seeds." if seeds > 1 else " over questions.")
        + (" Bold: the best of the sweep by its mean, which does not mean it differs from the next." if bold else "")
    ]
    rules = (baselines,) if 0 < baselines < len(groups) else ()
    return Table(name, title, (*lead, *columns), tuple(rows), (*notes, *mark_notes(rows)), rules)


def _labels(group: Group, axes: Sequence[str]) -> list[str]:
    if not axes:
        return [group.name]
    if group.baseline or not group.labels:
        return [group.name, *[""] * (len(axes) - 1)]
    labels = dict(group.labels)
    return [labels.get(axis, "") for axis in axes]


def _finish_columns(
    grid: Sequence[Sequence[Estimate | None]], metrics: Sequence[MetricRecord], groups: Sequence[Group]
) -> list[list[Estimate | None]]:
    """Settle each column's decimals and mark its best of the sweep, which a score that is NOT_RANKED cannot be."""
    out = [list(row) for row in grid]
    only_baselines = all(g.baseline for g in groups)
    for k, metric in enumerate(metrics):
        alike = [j for j, other in enumerate(metrics) if other == metric]
        errors = [e.stderr for row in out for j in alike if (e := row[j]) is not None and e.stderr]
        places = digits(float(np.median(errors))) if errors else None
        for row in out:
            entry = row[k]
            row[k] = entry and replace(entry, decimals=places)
        ranked = [
            (e.value, i, e)
            for i, row in enumerate(out)
            if (e := row[k]) is not None
            and e.value is not None
            and not NOT_RANKED & set(e.marks)
            and (only_baselines or not groups[i].baseline)
        ]
        if len(ranked) > 1:
            choose = max if metric.direction == "higher" else min
            _, best, estimate = choose(ranked, key=lambda scored: scored[:2])
            out[best][k] = replace(estimate, best=True)
    return out


def mark_notes(rows: Sequence[Sequence[Entry]]) -> tuple[str, ...]:
    """The legend of the marks that occur."""
    seen = {mark for row in rows for entry in row if isinstance(entry, Estimate) for mark in entry.marks}
    return tuple(f"{symbol} {meaning}." for mark, (symbol, meaning) in MARKS.items() if mark in seen)
