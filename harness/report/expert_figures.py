"""Where a mixture's router sent the benchmarks' tokens: a map of expert share per category."""

from collections.abc import Iterator, Sequence
from functools import partial

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from harness.report.drawing import Drawing
from harness.report.groups import Group
from harness.report.load import RunData
from harness.report.style import COLOURS, INK, figure
from harness.report.tables import benchmark_title
from harness.report.teacher_tables import file_name

MOST_MAPS = 12
_EQUAL = 1e-9
_MOST_NUMBERS = 10
"""Experts up to which each square says its share."""


def expert_drawings(run: RunData, groups: Sequence[Group]) -> Iterator[Drawing]:
    """A map per mixture and benchmark, seeds and layers averaged; the first MOST_MAPS of them.

    None where every token visits every expert: all shares are equal then, and the router's weights are in its entropy.
    """
    drawn = 0
    for group in groups:
        mine = run.experts[run.experts["cell"].isin([c.cell for c in group.cells])]
        for benchmark, frame in mine.groupby("benchmark", sort=False):
            if drawn == MOST_MAPS:
                return
            if frame["share"].max() - frame["share"].min() < _EQUAL:
                continue
            drawn += 1
            name = file_name("experts", group.name, str(benchmark))
            caption = (
                f"{group.title}, {benchmark_title(str(benchmark))}: share of each category's tokens that went to each "
                "expert, in %, mean over layers" + (" and seeds." if len(group.cells) > 1 else ".")
            )
            title = f"{group.title}: {benchmark_title(str(benchmark))}"
            yield Drawing(name, "experts", caption, partial(expert_map, shares(frame), title))


def shares(frame: pd.DataFrame) -> pd.DataFrame:
    """Category x expert: the mean share, over layers and seeds."""
    return frame.pivot_table("share", "category", "expert", aggfunc="mean", sort=False).sort_index(axis="columns")


def expert_map(table: pd.DataFrame, title: str) -> Figure:
    """Squares as strong as their share; the strongest of the map is full."""
    rows, columns = table.shape
    drawn, axes = figure(4.3, 0.9 + 0.27 * rows)
    most = float(table.max().max()) or 1.0
    for row, values in enumerate(table.to_numpy()):
        for column, value in enumerate(values):
            if value == value:
                axes.add_patch(
                    Rectangle((column, row), 1, 1, facecolor=COLOURS[0], alpha=0.75 * value / most, linewidth=0)
                )
                if columns <= _MOST_NUMBERS:
                    axes.text(
                        column + 0.5, row + 0.5, f"{100 * value:.0f}", ha="center", va="center", color=INK, size=8
                    )
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    axes.grid(visible=False)
    every = max(1, columns // 16)
    axes.set_xticks([k + 0.5 for k in range(0, columns, every)], [str(e) for e in table.columns[::every]])
    axes.set_yticks([k + 0.5 for k in range(rows)], [str(c).replace("_", " ") for c in table.index])
    axes.set_xlabel("expert")
    axes.set_title(title, loc="left", fontweight="bold", color=INK)
    return drawn
