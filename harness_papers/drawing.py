"""The papers' figures. Filled markers are published, open ones derived or read by eye; a run's have their intervals."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.labels import name_points
from harness.report.measure import Estimate
from harness.report.style import COLOURS, INK, MARKERS, MUTED, Look, figure, legend_below
from harness.report.tables import Entry
from harness_papers.layout import Block, Quoted

_WIDTH = 6.4
_NO_SERIES = ("Average", "mean", "the teacher's own")
"""Columns that are no student's."""


def models(blocks: Sequence[Block]) -> Figure:
    """MT-Bench by model, as the main table orders them; a run's cells below."""
    found = [
        (block, texts, e)
        for block in blocks
        for row, texts in block.rows.items()
        if (e := block.entries.get((row, "mt_bench"))) is not None and value(e) is not None
    ]
    drawn, axes = figure(_WIDTH, 0.95 + 0.24 * len(found))
    for place, (_, texts, entry) in enumerate(found):
        others = isinstance(entry, Quoted) and texts[2] != "the paper's"
        _dot(axes, entry, place, Look(MUTED, "o") if others else _look(entry))
    names = [f"{texts[0]} {texts[1]}".removesuffix(" –") for _, texts, _ in found]
    axes.set_yticks(range(len(found)), names)
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("MT-Bench, points (1-10)")
    return drawn


def _look(entry: Entry) -> Look:
    return Look(COLOURS[0], "o") if isinstance(entry, Quoted) else Look(COLOURS[1], "D")


def radar(blocks: Sequence[Block]) -> Figure:
    """MT-Bench's categories around a circle; a run that has others is left to its own report."""
    columns = list(blocks[0].columns)
    angles = np.linspace(0, 2 * np.pi, len(columns), endpoint=False)
    drawn, axes = figure(_WIDTH, 5.2, polar=True)
    lines = [(b, row) for b in blocks for row in b.rows if all((row, c) in b.entries for c in columns)]
    for k, (block, row) in enumerate(lines):
        values = [np.nan if (v := value(block.entries[row, c])) is None else v for c in columns]
        quoted = isinstance(block.entries[row, columns[0]], Quoted)
        axes.plot(
            [*angles, angles[0]], [*values, values[0]], "o" if quoted else "D", color=COLOURS[k % len(COLOURS)],
            linestyle="--" if quoted else "-", linewidth=1.3, markersize=4, label=block.rows[row][0],
            markerfacecolor="none" if quoted else COLOURS[k % len(COLOURS)],
        )  # fmt: skip
    axes.set_xticks(angles, [blocks[0].columns[c].title for c in columns])
    axes.set_ylim(0, 10)
    axes.spines["polar"].set_visible(False)
    axes.tick_params(axis="x", pad=9)
    axes.tick_params(axis="y", labelsize=7, labelcolor=MUTED)
    axes.set_rlabel_position(180 / len(columns))  # type: ignore[attr-defined]
    legend_below(drawn)
    return drawn


def dots(blocks: Sequence[Block], label: str, outcome: str) -> Figure:
    """One row per row of the first block, the best mean first; one marker per column, their mean a bar.

    Args:
        blocks: The first is drawn; its columns that are means themselves are left out.
        label: Of the x axis, with `{}` for the outcome.
        outcome: The paper's; a run's is its columns' group.
    """
    block = blocks[0]
    group = next(iter(block.columns.values())).group
    named = {key: column.title.removesuffix(f", {group}") for key, column in block.columns.items()}
    columns = {key: title for key, title in named.items() if title not in _NO_SERIES}
    rows = [r for r in block.rows if any(value(block.entries.get((r, c))) is not None for c in columns)]
    rows.sort(key=lambda row: -_mean(block, row, columns))
    drawn, axes = figure(_WIDTH, 1.5 + 0.3 * len(rows))
    shown = [e for row in rows for c in columns if (e := block.entries.get((row, c))) is not None]
    for place, row in enumerate(rows):
        mean = _mean(block, row, columns)
        axes.plot([mean, mean], [place - 0.36, place + 0.36], color=MUTED, linewidth=2, zorder=1)
        for k, column in enumerate(columns):
            entry = block.entries.get((row, column))
            if value(entry) is not None:  # each column a little lower, so that equal values do not cover each other
                _dot(axes, entry, place + 0.6 * (k - (len(columns) - 1) / 2) / len(columns), _series(k))
    for k, title in enumerate(columns.values()):
        look = _series(k)
        faces = {_face(e, look) for e in shown}
        face = faces.pop() if len(faces) == 1 else look.colour
        axes.plot([], [], look.marker, color=look.colour, markerfacecolor=face, label=title)
    axes.plot([], [], "|", color=MUTED, markeredgewidth=2, markersize=9, label="mean")
    axes.set_yticks(range(len(rows)), [block.rows[row][0] for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(label.format(group or outcome))
    legend_below(drawn)
    return drawn


def _series(k: int) -> Look:
    return Look(COLOURS[k % len(COLOURS)], MARKERS[(k + k // len(COLOURS)) % len(MARKERS)])


def _mean(block: Block, row: str, columns: dict[str, str]) -> float:
    found = [v for c in columns if (v := value(block.entries.get((row, c)))) is not None]
    return float(np.mean(found))


def _dot(axes: Axes, entry: Entry, place: float, look: Look) -> None:
    """A marker at (value, place): open where it is derived, with its interval where it has one."""
    x = value(entry)
    assert x is not None, "asked for where there is a value"
    if isinstance(entry, Estimate | Quoted) and entry.low is not None and entry.high is not None:
        axes.plot([entry.low, entry.high], [place, place], color=look.colour, linewidth=1, alpha=0.6, zorder=1.5)
    axes.plot(x, place, look.marker, color=look.colour, markersize=5.5, markerfacecolor=_face(entry, look))


def _face(entry: Entry, look: Look) -> str:
    return "none" if isinstance(entry, Quoted) and entry.origin != "published" else look.colour


def value(entry: Entry) -> float | None:
    """A number behind an entry; None where it is text or not known."""
    return entry.value if isinstance(entry, Estimate | Quoted) else None


def ladders(outcomes: pd.DataFrame, meta: pd.DataFrame, label: str) -> Figure:
    """Mean outcome over student bases against the teacher's size, a line per family of two sizes or more.

    Args:
        outcomes: student, teacher, value.
        meta: teacher, family, size_b.
        label: Of the y axis.
    """
    means = outcomes.groupby("teacher")["value"].mean().rename("mean")
    table = meta.merge(means, on="teacher").dropna()
    drawn, axes = figure(_WIDTH, 4.4)
    points = []
    for family, look in _families(table):
        mine = table[table["family"] == family].sort_values("size_b")
        axes.plot(
            mine["size_b"], mine["mean"], look.marker, linestyle="--" if len(mine) > 1 else "", color=look.colour,
            linewidth=1.2, markersize=6, markerfacecolor="none",
        )  # fmt: skip
        points += list(zip(mine["size_b"], mine["mean"], mine["teacher"], strict=True))
    axes.set_xscale("log")
    axes.set_xticks(ticks := [2, 5, 10, 20, 50, 100, 200, 500], [str(t) for t in ticks])
    axes.minorticks_off()
    axes.margins(0.12)
    axes.set_xlabel("parameters of the teacher, billions (log scale)")
    axes.set_ylabel(label)
    axes.set_title("")
    name_points(axes, [(float(x), float(y), str(n)) for x, y, n in points])
    axes.tick_params(labelcolor=INK)
    return drawn


def _families(table: pd.DataFrame) -> Iterator[tuple[str, Look]]:
    for k, family in enumerate(dict.fromkeys(table["family"])):
        alone = (table["family"] == family).sum() < 2
        yield str(family), Look(MUTED, "o") if alone else _series(k)
