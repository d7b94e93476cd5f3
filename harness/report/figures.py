"""The report's figures: each a small plot with one message, its axes labelled with units, its intervals drawn."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.groups import Group, group_cells, single
from harness.report.load import SEED_AXIS, MetricInfo, RunData
from harness.report.measure import COVERAGE, OVERALL, Estimate, Measures
from harness.report.style import INK, MUTED, Look, figure, legend_below, looks
from harness.report.tables import metric_title

_WIDTH = 4.3
_MOST_ON_A_RADAR = 6


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn: its file's stem, where it belongs, what it shows in words."""

    name: str
    section: str
    caption: str
    draw: Callable[[], Figure]


def drawings(run: RunData, measures: Measures) -> Iterator[Drawing]:
    """Every figure that this run has data for."""
    groups = group_cells(run)
    style = looks(groups)
    headline = [m for m in run.metrics if m.headline and any(measures.estimate(g, m) for g in groups)]
    for m in headline:
        name = f"scores_{m.benchmark}_{m.metric}"
        caption = f"{metric_title(m, run)}: mean and 95 % interval of each cell; small dots are single seeds."
        yield Drawing(name, "scores", caption, partial(forest, run, measures, m, groups, style))
    for axis in run.axes:
        if axis == SEED_AXIS or len(run.axes[axis]) < 2:
            continue
        for m in headline:
            name = f"axis_{axis}_{m.benchmark}_{m.metric}"
            caption = f"{metric_title(m, run)} against {axis}; a line joins cells that differ only there."
            yield Drawing(name, f"axis {axis}", caption, partial(along_axis, run, measures, m, axis, groups, style))
    for m in headline:
        names = radar_categories(run, m)
        if len(names) >= 5:
            name = f"radar_{m.benchmark}_{m.metric}"
            caption = f"{metric_title(m, run)} by category. No intervals: see the table for what is noise."
            yield Drawing(name, "categories", caption, partial(radar, run, measures, m, names, groups, style))
    general, domain = ([m for m in headline if m.role == role] for role in ("general", "domain"))
    for g, d in ((g, d) for g in general for d in domain):
        name = f"tradeoff_{g.benchmark}_{g.metric}_{d.benchmark}_{d.metric}"
        caption = (
            f"What the domain gains and general ability pays: {metric_title(g, run)} against {metric_title(d, run)}."
        )
        yield Drawing(name, "tradeoff", caption, partial(tradeoff, run, measures, (d, g), groups, style))
    for (step, metric), frame in _losses(run):
        name = f"training_{step}_{metric}".replace(" ", "_")
        caption = f"{metric.replace('_', ' ')} during step '{step}', one line per cell."
        yield Drawing(name, "training", caption, partial(curve, frame, metric, step, groups, style))


def _unit_label(metric: MetricInfo) -> str:
    arrow = "" if metric.direction == "higher" else "; lower is better"
    return f"{metric.metric.replace('_', ' ')}, {metric.unit}{arrow}"


def forest(
    run: RunData, measures: Measures, metric: MetricInfo, groups: Sequence[Group], style: dict[str, Look]
) -> Figure:
    """One row per cell: mean, interval, single seeds."""
    drawn, axes = figure(_WIDTH, 0.95 + 0.27 * len(groups))
    for row, group in enumerate(groups):
        look = style[group.name]
        seeds = [measures.estimate(single(c), metric) for c in group.cells]
        found = [e.value for e in seeds if e is not None and e.value is not None]
        if len(found) > 1:
            axes.plot(found, [row] * len(found), "o", color=look.colour, markersize=4, alpha=0.5, markeredgewidth=0)
        estimate = measures.estimate(group, metric)
        if estimate is not None and estimate.value is not None:
            _point(axes, estimate.value, row, estimate, None, look)
    axes.set_yticks(range(len(groups)), [g.title for g in groups])
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(_unit_label(metric))
    axes.set_title(metric_title(metric, run), loc="left", fontweight="bold", color=INK)
    return drawn


def _point(axes: Axes, x: float, y: float, across: Estimate | None, up: Estimate | None, look: Look) -> None:
    """A marker with its intervals; hollow where the score is below the coverage floor."""
    hollow = any(e is not None and COVERAGE in e.marks for e in (across, up))
    axes.errorbar(
        x,
        y,
        xerr=_reach(across),
        yerr=_reach(up),
        fmt=look.marker,
        color=look.colour,
        markersize=6,
        markerfacecolor="none" if hollow else look.colour,
        elinewidth=1.4,
        capsize=0,
    )


def _reach(estimate: Estimate | None) -> list[list[float]] | None:
    if estimate is None or estimate.value is None or estimate.low is None or estimate.high is None:
        return None
    return [[estimate.value - estimate.low], [estimate.high - estimate.value]]


def along_axis(
    run: RunData, measures: Measures, metric: MetricInfo, axis: str, groups: Sequence[Group], style: dict[str, Look]
) -> Figure:
    """A metric against one axis's labels; each line holds the other axes fixed."""
    labels = run.axes[axis]
    numeric = _numbers(labels)
    places = dict(zip(labels, numeric or range(len(labels)), strict=True))
    drawn, axes = figure(_WIDTH, 3.1)
    lines: dict[str, list[Group]] = {}
    for group in groups:
        if not group.baseline and dict(group.labels).get(axis) in places:
            rest = " · ".join(label for a, label in group.labels if a != axis)
            lines.setdefault(rest, []).append(group)
    span = (max(places.values()) - min(places.values())) or 1
    for k, (rest, members) in enumerate(lines.items()):
        shift = span * 0.03 * (k - (len(lines) - 1) / 2)
        points = [(places[dict(g.labels)[axis]] + shift, e, g) for g in members if (e := measures.estimate(g, metric))]
        points = sorted((p for p in points if p[1].value is not None), key=lambda p: p[0])
        if not points:
            continue
        axes.plot([p[0] for p in points], [p[1].value or 0.0 for p in points], color=MUTED, linewidth=1, zorder=1)
        for x, estimate, group in points:
            _point(axes, x, estimate.value or 0.0, None, estimate, style[group.name])
        last = points[-1]
        axes.annotate(rest, (last[0], last[1].value or 0.0), (9, 0), textcoords="offset points", va="center", size=8)
    _baseline_lines(axes, measures, metric, groups, style)
    if numeric is None:
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlim(-0.35, len(labels) - 0.45)
    else:
        axes.set_xticks(numeric, labels)
        axes.margins(x=0.12)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel(axis.replace("_", " "))
    axes.set_ylabel(_unit_label(metric))
    axes.set_title(metric_title(metric, run), loc="left", fontweight="bold", color=INK)
    return drawn


def _numbers(labels: Sequence[str]) -> list[float] | None:
    try:
        return [float(label) for label in labels] if len(labels) > 2 else None
    except ValueError:
        return None


def _baseline_lines(
    axes: Axes, measures: Measures, metric: MetricInfo, groups: Sequence[Group], style: dict[str, Look]
) -> None:
    for group in (g for g in groups if g.baseline):
        estimate = measures.estimate(group, metric)
        if estimate is not None and estimate.value is not None:
            axes.axhline(estimate.value, color=MUTED, linestyle=style[group.name].dash, linewidth=1, zorder=0)
            place = (0.01, estimate.value)
            axes.annotate(
                group.title, place, (0, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
                color=MUTED, size=8,
            )  # fmt: skip


def radar_categories(run: RunData, metric: MetricInfo) -> list[str]:
    """The categories of a metric, turns left out."""
    mine = (run.scores["benchmark"] == metric.benchmark) & (run.scores["metric"] == metric.metric)
    names = [str(c) for c in run.scores.loc[mine, "category"].drop_duplicates()]
    return [n for n in names if n != OVERALL and not n.startswith("turn_")]


def radar(
    run: RunData,
    measures: Measures,
    metric: MetricInfo,
    names: Sequence[str],
    groups: Sequence[Group],
    style: dict[str, Look],
) -> Figure:
    """Category scores of the baselines and the best cells, as MT-Bench papers draw them."""
    scored = [(e.value, g) for g in groups if (e := measures.estimate(g, metric)) is not None and e.value is not None]
    ranked = sorted((p for p in scored if not p[1].baseline), key=lambda p: p[0], reverse=metric.direction == "higher")
    baselines = [g for g in groups if g.baseline][:2]
    kept = {g.name for g in baselines} | {g.name for _, g in ranked[: _MOST_ON_A_RADAR - len(baselines)]}
    angles = np.linspace(0, 2 * np.pi, len(names), endpoint=False)
    drawn, axes = figure(_WIDTH, 4.6, polar=True)
    for group in (g for g in groups if g.name in kept):
        found = [measures.estimate(group, metric, c) for c in names]
        values = [np.nan if e is None or e.value is None else e.value for e in found]
        look = style[group.name]
        closed = [*values, values[0]]
        axes.plot(
            [*angles, angles[0]], closed, color=look.colour, linestyle=look.dash, linewidth=1.5, label=group.title
        )
    axes.set_xticks(angles, [n.replace("_", " ") for n in names])
    axes.spines["polar"].set_visible(False)
    axes.tick_params(axis="y", labelsize=7, labelcolor=MUTED)
    axes.set_rlabel_position(180 / len(names))  # type: ignore[attr-defined]
    axes.set_title(f"{metric_title(metric, run)}, {metric.unit}", pad=14, loc="left", fontweight="bold", color=INK)
    legend_below(drawn)
    return drawn


def tradeoff(
    run: RunData,
    measures: Measures,
    metrics: tuple[MetricInfo, MetricInfo],
    groups: Sequence[Group],
    style: dict[str, Look],
) -> Figure:
    """Domain score across, general score up, both with intervals."""
    drawn, axes = figure(_WIDTH, 3.6)
    for group in groups:
        across, up = (measures.estimate(group, m) for m in metrics)
        if across is None or up is None or across.value is None or up.value is None:
            continue
        _point(axes, across.value, up.value, across, up, style[group.name])
        look = style[group.name]
        axes.plot([], [], look.marker, color=look.colour, label=group.title)
    axes.margins(0.12)
    axes.set_xlabel(f"{metric_title(metrics[0], run)}, {metrics[0].unit} (domain)")
    axes.set_ylabel(f"{metric_title(metrics[1], run)}, {metrics[1].unit} (general)")
    legend_below(drawn)
    return drawn


def _losses(run: RunData) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    frame = run.curves[run.curves["value"].notna()]
    shown = frame[frame["metric"].astype(str).str.contains(r"loss|^ce$|^kl$", regex=True)]
    for key, part in shown.groupby(["step_name", "metric"], sort=False):
        assert isinstance(key, tuple)
        yield (str(key[0]), str(key[1])), part


def curve(frame: pd.DataFrame, metric: str, step: str, groups: Sequence[Group], style: dict[str, Look]) -> Figure:
    """A training curve per cell; seeds share their group's colour."""
    drawn, axes = figure(_WIDTH, 2.9)
    for group in groups:
        label: str | None = group.title
        for cell in group.cells:
            mine = frame[frame["cell"] == cell.cell].sort_values("step")
            if len(mine):
                look = style[group.name]
                axes.plot(mine["step"], mine["value"], color=look.colour, linewidth=1, alpha=0.8, label=label)
                label = None
    axes.set_xlabel("optimiser step")
    axes.set_ylabel(metric.replace("_", " "))
    axes.set_title(f"{step}: {metric.replace('_', ' ')}", loc="left", fontweight="bold", color=INK)
    if len(axes.lines) > 1:
        legend_below(drawn)
    return drawn
