"""Which metric tells rows apart: the spread between rows over that between replicates, after arXiv 2508.13144."""

import numpy as np

from harness.record.run import MetricRecord
from harness.report.groups import group_cells
from harness.report.load import DRAW_AXIS, RunData
from harness.report.measure import Measures
from harness.report.tables import Column, Entry, Table, metric_title

_NOTES = (
    "Signal: the standard deviation of the rows' scores, baselines left out. Noise: that of a row's replicates, pooled "
    "over rows. The metric with the largest ratio tells these rows apart best; rows that do not differ at all have "
    "about 1 / √(replicates).",
)


def signal_table(run: RunData, measures: Measures) -> Table | None:
    """A row per metric, the largest ratio first; None where no two rows have replicates."""
    made = [(metric, _spreads(run, measures, metric)) for metric in run.metrics]
    known = sorted(((m, *s) for m, s in made if s is not None), key=lambda row: row[2] / row[3] if row[3] else 0)
    if not known:
        return None
    kind = "draws" if DRAW_AXIS in run.axes else "seeds"
    columns = (
        Column("metric", "metric"),
        Column("rows", "rows", "", "number"),
        Column("signal", "signal: sd between rows", "", "number"),
        Column("noise", f"noise: sd between {kind}", "", "number"),
        Column("ratio", "signal / noise", "", "number"),
    )
    rows: list[tuple[Entry, ...]] = [
        (f"{metric_title(metric, run)} ({metric.unit})", str(count), signal, noise, signal / noise if noise else None)
        for metric, count, signal, noise in reversed(known)
    ]
    return Table("signal", "Signal and noise", columns, tuple(rows), _NOTES)


def _spreads(run: RunData, measures: Measures, metric: MetricRecord) -> tuple[int, float, float] | None:
    """Rows, signal and noise in the metric's unit; None with fewer than two rows that have replicates."""
    swept = (group for group in group_cells(run) if not group.baseline)
    rows = [scores for group in swept if len(scores := measures.replicate_scores(group, metric)) > 1]
    if len(rows) < 2:
        return None
    signal = float(np.std([np.mean(scores) for scores in rows], ddof=1))
    squares, df = sum(np.var(scores) * len(scores) for scores in rows), sum(len(scores) - 1 for scores in rows)
    return len(rows), signal, float(np.sqrt(squares / df))
