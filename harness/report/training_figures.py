"""Training curves as small multiples: one figure per step and metric, seeds averaged, few lines or few colours."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.report.drawing import Drawing
from harness.report.groups import Group
from harness.report.load import RunData
from harness.report.palette import palette
from harness.report.style import INK, figure, legend_below
from harness.report.teacher_tables import file_name

_WIDTH, _HEIGHT = 3.3, 2.6
_MOST_POINTS = 80
"""Points of a line; a longer curve is averaged over equal runs of steps."""
_LEFT_OUT = frozenset({"learning_rate", "grad_norm"})
_UNITS = {
    "loss": "nats per token",
    "held_out_loss": "nats per token",
    "router_entropy": "nats",
    "agreement": "share",
    "logprob": "nats per token",
    "sample_length": "tokens",
    "sample_cut": "share",
    "sample_empty": "share",
    "sample_repetition": "share",
    "sample_entropy": "nats per token",
}
"""By family: what stands before the slash of a metric's name."""


def training_drawings(run: RunData, groups: Sequence[Group]) -> Iterator[Drawing]:
    """A figure per training step and metric, losses first; metrics of a family share their scale."""
    curves = run.curves[run.curves["value"].notna() & ~run.curves["metric"].isin(_LEFT_OUT)]
    names = {cell.cell: group.name for group in groups for cell in group.cells}
    curves = curves.assign(group=curves["cell"].map(names)).dropna(subset=["group"])
    for step, own in curves.groupby("step_name", sort=False):
        lines = {str(metric): _lines(frame) for metric, frame in own.groupby("metric", sort=False)}
        for metric in sorted(lines, key=lambda m: (family(m) != "loss", list(lines).index(m))):
            shown = [g for g in groups if g.name in lines[metric].columns]
            alike = [frame for other, frame in lines.items() if family(other) == family(metric)]
            limits = (min(f.min().min() for f in alike), max(f.max().max() for f in alike))
            title = f"{step}: {metric.replace('_', ' ')}"
            draw = partial(curve, lines[metric], title, _label(metric), limits, shown)
            yield Drawing(
                file_name("training", str(step), metric), "training", _caption(metric, str(step), shown), draw
            )


def family(metric: str) -> str:
    """`loss` of `loss/domain`."""
    return metric.partition("/")[0]


def _label(metric: str) -> str:
    name, unit = metric.replace("_", " "), _UNITS.get(family(metric))
    return f"{name}, {unit}" if unit else name


def _caption(metric: str, step: str, groups: Sequence[Group]) -> str:
    seeds = ", the mean over its seeds" if any(len(g.cells) > 1 for g in groups) else ""
    axis = palette(groups).axis
    thick = f"; thick: their mean by {axis.replace('_', ' ')}" if axis else ""
    return f"{metric.replace('_', ' ')} during step '{step}': a line per cell{seeds}{thick}."


def _lines(frame: pd.DataFrame) -> pd.DataFrame:
    """Optimiser step x group: each cell averaged over runs of steps, then cells over their group."""
    width = max(1, int(np.ceil(frame["step"].max() / _MOST_POINTS)))
    at = (frame["step"] - 1) // width * width + (width + 1) / 2
    by_cell = frame.assign(at=at).groupby(["group", "cell", "at"], sort=False)["value"].mean()
    return by_cell.groupby(["at", "group"]).mean().unstack("group").sort_index()


def curve(lines: pd.DataFrame, title: str, label: str, limits: tuple[float, float], groups: Sequence[Group]) -> Figure:
    """One line per group of cells, or thin ones and their mean per colour."""
    drawn, axes = figure(_WIDTH, _HEIGHT)
    key = palette(groups)
    for group in groups:
        mine, look = lines[group.name].dropna(), key.looks[group.name]
        width, alpha = (0.6, 0.3) if key.axis else (1.2, 1.0)
        axes.plot(mine.index, mine, look.dash, color=look.colour, linewidth=width, alpha=alpha)
    for name, look in key.legend:
        if key.axis:
            mean = lines[[g.name for g in key.rows_of(look, groups)]].mean(axis=1)
            axes.plot(mean.index, mean, look.dash, color=look.colour, linewidth=1.8)
        axes.plot([], [], look.dash, color=look.colour, label=name)
    spare = 0.04 * ((limits[1] - limits[0]) or abs(limits[0]) or 1.0)
    axes.set_ylim(limits[0] - spare, limits[1] + spare)
    axes.set_xlabel("optimiser step")
    axes.set_ylabel(label)
    axes.set_title(title, loc="left", fontweight="bold", color=INK)
    if len(groups) > 1:
        legend_below(drawn)
    return drawn
