"""What every figure of a report is made of: its place and caption, and points with their intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harness.record.run import MetricRecord
from harness.report.measure import COVERAGE, Estimate
from harness.report.style import Look

WIDTH = 4.3
"""Inches of a figure that shares a line of the page with one other."""
Point = tuple[float, float, Estimate | None, Estimate | None]
"""x, y, and the estimates whose intervals lie along x and along y."""


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn: its file's stem, where it belongs, what it shows in words."""

    name: str
    section: str
    caption: str
    draw: Callable[[], Figure]


def unit_label(metric: MetricRecord) -> str:
    """`score, points (1-10)`; says where lower is better."""
    arrow = "" if metric.direction == "higher" else "; lower is better"
    return f"{metric.metric.replace('_', ' ')}, {metric.unit}{arrow}"


def mark(axes: Axes, points: Sequence[Point], look: Look, *, faint: bool = False) -> None:
    """Markers with their intervals, `faint` where these cross; hollow where a score is below the coverage floor."""
    for hollow in (False, True):
        mine = [p for p in points if hollow == any(e is not None and COVERAGE in e.marks for e in p[2:])]
        if mine:
            axes.errorbar(
                [p[0] for p in mine],
                [p[1] for p in mine],
                xerr=_reach([p[2] for p in mine]),
                yerr=_reach([p[3] for p in mine]),
                fmt=look.marker,
                color=look.colour,
                markersize=6,
                markerfacecolor="none" if hollow else look.colour,
                ecolor=to_rgba(look.colour, 0.35 if faint else 1),
                elinewidth=1.1 if faint else 1.4,
                capsize=0,
            )


def _reach(estimates: Sequence[Estimate | None]) -> NDArray[np.float64] | None:
    """2 x points: how far each interval reaches down and up; NaN where it is not known, None where none is."""
    reach = np.array([_interval(e) for e in estimates], dtype=np.float64).T
    return None if np.isnan(reach).all() else reach


def _interval(e: Estimate | None) -> tuple[float, float]:
    if e is None or e.value is None or e.low is None or e.high is None:
        return np.nan, np.nan
    return e.value - e.low, e.high - e.value
