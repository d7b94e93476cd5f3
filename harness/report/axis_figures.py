"""Figures along one axis of a sweep: a metric against it, and what it trades general ability for.

A line joins the rows that differ only along the axis. Up to six lines are drawn with their intervals; more are thin,
coloured by another axis, with the mean of each colour drawn over them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harness.record.run import MetricRecord
from harness.report.drawing import WIDTH, Point, mark, unit_label
from harness.report.groups import Group
from harness.report.labels import name_points
from harness.report.load import RunData
from harness.report.measure import Measures
from harness.report.palette import MOST_BASELINES, lines_along, numbers, palette
from harness.report.style import COLOURS, INK, MUTED, figure, legend_below
from harness.report.tables import metric_title

Means = NDArray[np.float64]
_MOST_LINES = len(COLOURS)
_MOST_NAMED = 20
_WIDE_RANGE = 30
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""


def crowded(groups: Sequence[Group], axis: str) -> str:
    """The axis whose labels' means are drawn, where there are too many lines for intervals; else empty."""
    lines = [line for line, _ in lines_along(groups, axis)]
    return palette(lines).axis if len(lines) > _MOST_LINES else ""


def along_axis(run: RunData, measures: Measures, metric: MetricRecord, axis: str, groups: Sequence[Group]) -> Figure:
    """A metric against one axis's labels; each line holds the other axes fixed."""
    drawn, axes = figure(WIDTH, 3.1)
    places = _places(run.axes[axis])
    lines = lines_along(groups, axis)
    traces: dict[str, list[Point]] = {}
    span = (max(places.values()) - min(places.values())) or 1
    scale = _scale(run.axes[axis])
    for k, (line, members) in enumerate(lines):
        # Lines stand a little apart, so that their intervals do; a logarithmic axis has no such shift.
        aside = span * 0.02 * (k - (len(lines) - 1) / 2) if scale == "linear" and len(lines) <= _MOST_LINES else 0
        found = [(places[dict(g.labels)[axis]], measures.estimate(g, metric)) for g in members]
        traces[line.name] = sorted(
            ((x + aside, e.value, None, e) for x, e in found if e is not None and e.value is not None),
            key=lambda point: point[0],
        )
    _draw_lines(axes, [line for line, _ in lines], traces, "-")
    _baseline_lines(axes, measures, metric, groups)
    _ticks(axes, run.axes[axis], scale)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel(axis.replace("_", " "))
    axes.set_ylabel(unit_label(metric))
    axes.set_title(metric_title(metric, run), loc="left", fontweight="bold", color=INK)
    if len(lines) > 1:
        legend_below(drawn)
    return drawn


def _draw_lines(axes: Axes, lines: Sequence[Group], traces: Mapping[str, Sequence[Point]], thin: str) -> list[Means]:
    """The lines with their intervals, or, where they are many, thin (drawn as `thin`) and the means that it returns."""
    key = palette(lines)
    many, means = len(lines) > _MOST_LINES, []
    for line in lines:
        points, look = traces[line.name], key.looks[line.name]
        x, y = [p[0] for p in points], [p[1] for p in points]
        if many:
            faint = max(0.1, min(0.4, 6 / len(lines)))
            axes.plot(x, y, thin, color=look.colour, linewidth=0.8, markersize=3, alpha=faint, markeredgewidth=0)
        else:
            axes.plot(x, y, look.dash, color=look.colour, linewidth=1.2, zorder=1)
            mark(axes, points, look, faint=any(p[2] for p in points))
    for title, look in key.legend:
        if many and (mean := _mean([traces[g.name] for g in key.rows_of(look, lines)])) is not None:
            means.append(mean)
            axes.plot(*mean.T, look.dash, marker=look.marker, color=look.colour, linewidth=2, markersize=6)
        axes.plot([], [], look.dash, marker=look.marker, color=look.colour, markersize=5, label=title)
    return means


def _mean(traces: Sequence[Sequence[Point]]) -> Means | None:
    """Points x 2: the mean of those lines that have every point."""
    most = max((len(t) for t in traces), default=0)
    whole = [[p[:2] for p in t] for t in traces if t and len(t) == most]
    return np.array(whole, dtype=np.float64).mean(axis=0) if whole else None


def _places(labels: Sequence[str]) -> dict[str, float]:
    """Where each label stands: at its number, or in order."""
    return dict(zip(labels, numbers(labels) or [float(k) for k in range(len(labels))], strict=True))


def _scale(labels: Sequence[str]) -> str:
    """`log` for positive numbers of very different size, `symlog` where a zero is among them, else `linear`."""
    values = numbers(labels)
    if values is None or min(values) < 0:
        return "linear"
    positive = [v for v in values if v > 0]
    if len(positive) < 2 or max(positive) / min(positive) < _WIDE_RANGE:
        return "linear"
    return "log" if len(positive) == len(values) else "symlog"


def _ticks(axes: Axes, labels: Sequence[str], scale: str) -> None:
    """The axis's own labels as ticks."""
    values = numbers(labels)
    if values is None:
        axes.set_xlim(-0.35, len(labels) - 0.65)
        turned = sum(map(len, labels)) > 40
        axes.set_xticks(range(len(labels)), labels, rotation=35 if turned else 0, ha="right" if turned else "center")
        return
    if scale != "linear":
        axes.set_xscale(scale, **({"linthresh": min(v for v in values if v > 0)} if scale == "symlog" else {}))
    axes.set_xticks(_apart(values) if scale == "linear" else values)
    shown = dict(zip(values, labels, strict=True))
    axes.set_xticklabels([shown[v] for v in axes.get_xticks()])
    axes.minorticks_off()
    axes.margins(x=0.08)


def _apart(values: Sequence[float]) -> list[float]:
    """Those values whose labels do not run into each other."""
    kept: list[float] = []
    for value in sorted(set(values)):
        if not kept or value - kept[-1] >= 0.07 * (max(values) - min(values)):
            kept.append(value)
    return kept


def _baseline_lines(axes: Axes, measures: Measures, metric: MetricRecord, groups: Sequence[Group]) -> None:
    """A line across for each baseline, where they are few."""
    looks, fixed = palette(groups).looks, [g for g in groups if g.baseline]
    for group in fixed if len(fixed) <= MOST_BASELINES else ():
        estimate = measures.estimate(group, metric)
        if estimate is not None and estimate.value is not None:
            axes.axhline(estimate.value, color=MUTED, linestyle=looks[group.name].dash, linewidth=1, zorder=0)
            place = (0.01, estimate.value)
            axes.annotate(
                group.title, place, (0, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
                color=MUTED, size=8,
            )  # fmt: skip


def tradeoff(
    run: RunData, measures: Measures, metrics: tuple[MetricRecord, MetricRecord], axis: str, groups: Sequence[Group]
) -> Figure:
    """General score across, domain score up, both with intervals; along `axis`, where one is given, joined by lines."""
    drawn, axes = figure(WIDTH, 3.9)
    found = {g.name: p for g in groups if (p := _both(measures, g, metrics)) is not None}
    means: list[Means] = []
    if axis:
        lines = lines_along(groups, axis)
        traces = {line.name: [found[g.name] for g in members if g.name in found] for line, members in lines}
        means = _draw_lines(axes, [line for line, _ in lines], traces, "o")
    key = palette(groups)
    for title, look in key.legend:
        mine = [found[g.name] for g in key.rows_of(look, groups) if g.name in found and (g.baseline or not axis)]
        if mine:
            mark(axes, mine, look, faint=True)
            axes.plot([], [], look.marker, color=look.colour, markersize=5, label=title)
    axes.margins(0.12)
    axes.set_xlabel(f"{metric_title(metrics[0], run)}, {metrics[0].unit} (general)")
    axes.set_ylabel(f"{metric_title(metrics[1], run)}, {metrics[1].unit} (domain)")
    legend_below(drawn)
    labels = run.axes.get(axis, ())
    names = [(*xy, text) for mean in means if len(mean) == len(labels) for xy, text in zip(mean, labels, strict=True)]
    names += [(*found[name][:2], text) for name, text in _names(groups, axis, found, metrics).items() if not means]
    if names:
        name_points(axes, names, [(x, y, x, y) for x, y, *_ in found.values()])
    return drawn


def _both(measures: Measures, group: Group, metrics: tuple[MetricRecord, MetricRecord]) -> Point | None:
    across, up = (measures.estimate(group, m) for m in metrics)
    if across is None or up is None or across.value is None or up.value is None:
        return None
    return across.value, up.value, across, up


def _names(
    groups: Sequence[Group], axis: str, found: dict[str, Point], metrics: tuple[MetricRecord, MetricRecord]
) -> dict[str, str]:
    """What stands beside which row's point: its label along the axis, or its title where no other row beats it."""
    shown = [g for g in groups if g.name in found and not g.baseline]
    if axis:
        return (
            {g.name: dict(g.labels)[axis] for g in shown if axis in dict(g.labels)} if len(shown) <= _MOST_NAMED else {}
        )
    if palette(groups).axis == "":
        return {}
    signs = np.array([1 if m.direction == "higher" else -1 for m in metrics])
    scores = {g.name: np.array(found[g.name][:2]) * signs for g in shown}
    best = [
        g for g in shown if not any((s >= scores[g.name]).all() and (s > scores[g.name]).any() for s in scores.values())
    ]
    return {g.name: g.title for g in best[:_MOST_NAMED]}
