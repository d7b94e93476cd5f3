"""Every figure of a report: each a small plot with one message, its axes labelled with units, its intervals drawn."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from harness.record.run import MetricRecord
from harness.report.axis_figures import along_axis, crowded, tradeoff
from harness.report.drawing import WIDTH, Drawing, mark, unit_label
from harness.report.expert_figures import expert_drawings
from harness.report.groups import Group, group_cells, single
from harness.report.load import REPLICATES, RunData
from harness.report.measure import OVERALL, Measures
from harness.report.palette import Palette, numbers, palette
from harness.report.profiles import profile_drawings
from harness.report.style import INK, MUTED, figure, legend_below
from harness.report.tables import metric_title
from harness.report.training_figures import training_drawings

_MOST_ON_A_RADAR = 6
_MOST_ROWS = 40


def drawings(run: RunData, measures: Measures) -> Iterator[Drawing]:
    """Every figure that this run has data for."""
    groups = group_cells(run)
    headline = [m for m in run.metrics if m.headline and any(measures.estimate(g, m) for g in groups)]
    for m in headline:
        name = f"scores_{m.benchmark}_{m.metric}"
        shown = _best(measures, m, groups)
        which = f"each of the {_MOST_ROWS} best cells" if len(shown) < len(groups) else "each cell"
        caption = f"{metric_title(m, run)}: mean and 95 % interval of {which}; small dots are single seeds."
        yield Drawing(name, "scores", caption, partial(forest, run, measures, m, shown, palette(groups)))
    for axis in _swept(run):
        for m in headline:
            name = f"axis_{axis}_{m.benchmark}_{m.metric}"
            caption = f"{metric_title(m, run)} against {axis.replace('_', ' ')}; {_lines(groups, axis)}"
            yield Drawing(name, f"axis {axis}", caption, partial(along_axis, run, measures, m, axis, groups))
    for m in (m.live for m in headline):
        names = radar_categories(run, m)
        if len(names) >= 5:
            name = f"radar_{m.benchmark}_{m.metric}"
            caption = f"{metric_title(m, run)} by category. No intervals: see the table for what is noise."
            yield Drawing(name, "categories", caption, partial(radar, run, measures, m, names, groups))
    yield from _tradeoffs(run, measures, headline, groups)
    yield from profile_drawings(run)
    yield from training_drawings(run, groups)
    yield from expert_drawings(run, groups)


def _best(measures: Measures, metric: MetricRecord, groups: Sequence[Group]) -> list[Group]:
    """The rows that a figure with a line for each has room for: all, or baselines and the best, in their order."""
    swept = [g for g in groups if not g.baseline]
    if len(swept) <= _MOST_ROWS:
        return list(groups)
    sign = 1 if metric.direction == "higher" else -1
    scored = [(sign * e.value, g.name) for g in swept if (e := measures.estimate(g, metric)) and e.value is not None]
    kept = {name for _, name in sorted(scored, reverse=True)[:_MOST_ROWS]}
    return [g for g in groups if g.baseline or g.name in kept]


def _swept(run: RunData) -> list[str]:
    return [axis for axis, labels in run.axes.items() if axis not in REPLICATES and len(labels) > 1]


def _lines(groups: Sequence[Group], axis: str) -> str:
    telling = crowded(groups, axis)
    if not telling:
        return "a line joins cells that differ only there."
    return f"thin lines join cells that differ only there, thick lines are their means by {telling.replace('_', ' ')}."


def _tradeoffs(
    run: RunData, measures: Measures, headline: Sequence[MetricRecord], groups: Sequence[Group]
) -> Iterator[Drawing]:
    """Domain against general score: along each axis of numbers, or of all cells where there is none."""
    along = [axis for axis in _swept(run) if numbers(run.axes[axis]) is not None]
    general, domain = ([m for m in headline if m.role == role] for role in ("general", "domain"))
    for g, d in ((g, d) for g in general for d in domain):
        name = f"tradeoff_{g.benchmark}_{g.metric}_{d.benchmark}_{d.metric}"
        caption = (
            f"What the domain gains and general ability pays: {metric_title(d, run)} against {metric_title(g, run)}"
        )
        for axis in along:
            telling = crowded(groups, axis).replace("_", " ")
            lines = (
                f"dots are cells, lines the means by {telling}" if telling else "a line per choice of the other axes"
            )
            said = f"{caption}, along {axis.replace('_', ' ')} (beside the points); {lines}."
            draw = partial(tradeoff, run, measures, (g, d), axis, groups)
            yield Drawing(f"{name}_along_{axis}", "tradeoff", said, draw)
        if not along:
            best = " Named: cells that no other beats on both." if palette(groups).axis else ""
            draw = partial(tradeoff, run, measures, (g, d), "", groups)
            yield Drawing(name, "tradeoff", f"{caption}.{best}", draw)


def forest(run: RunData, measures: Measures, metric: MetricRecord, groups: Sequence[Group], key: Palette) -> Figure:
    """One row per cell: mean, interval, single seeds."""
    drawn, axes = figure(WIDTH, 0.95 + 0.27 * len(groups))
    rows = {g.name: k for k, g in enumerate(groups)}
    for look in dict.fromkeys(look for _, look in key.legend):
        mine = key.rows_of(look, groups)
        estimates = [(rows[g.name], measures.estimate(g, metric)) for g in mine]
        seeds = [
            (rows[g.name], measures.estimate(single(c), metric)) for g in mine if len(g.cells) > 1 for c in g.cells
        ]
        dots = [(e.value, row) for row, e in seeds if e is not None and e.value is not None]
        if dots:
            x, y = zip(*dots, strict=True)
            axes.plot(x, y, "o", color=look.colour, markersize=4, alpha=0.5, markeredgewidth=0)
        mark(axes, [(e.value, row, e, None) for row, e in estimates if e is not None and e.value is not None], look)
    axes.set_yticks(range(len(groups)), [g.title for g in groups])
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(unit_label(metric))
    axes.set_title(metric_title(metric, run), loc="left", fontweight="bold", color=INK)
    return drawn


def radar_categories(run: RunData, metric: MetricRecord) -> list[str]:
    """The categories of a metric, turns left out."""
    mine = (run.scores["benchmark"] == metric.benchmark) & (run.scores["metric"] == metric.metric)
    names = [str(c) for c in run.scores.loc[mine, "category"].drop_duplicates()]
    return [n for n in names if n != OVERALL and not n.startswith("turn_")]


def radar(
    run: RunData,
    measures: Measures,
    metric: MetricRecord,
    names: Sequence[str],
    groups: Sequence[Group],
) -> Figure:
    """Category scores of the baselines and the best cells, as MT-Bench papers draw them."""
    scored = [(e.value, g) for g in groups if (e := measures.estimate(g, metric)) is not None and e.value is not None]
    ranked = sorted((p for p in scored if not p[1].baseline), key=lambda p: p[0], reverse=metric.direction == "higher")
    baselines = [g for g in groups if g.baseline][:2]
    kept = [*baselines, *(g for _, g in ranked[: _MOST_ON_A_RADAR - len(baselines)])]
    key, own = palette(groups), palette(kept).looks
    looks = {g.name: own[g.name] if key.axis or g.baseline else key.looks[g.name] for g in kept}
    angles = np.linspace(0, 2 * np.pi, len(names), endpoint=False)
    drawn, axes = figure(WIDTH, 4.6, polar=True)
    for group in kept:
        found = [measures.estimate(group, metric, c) for c in names]
        values = [np.nan if e is None or e.value is None else e.value for e in found]
        look = looks[group.name]
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
