"""Names beside points, so that they cover neither each other nor a point as far as there is room."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from harness.report.style import INK, MUTED

_SPOTS = ((7.0, 0.0), (-7.0, 0.0), (0.0, 8.0), (0.0, -8.0), (6.0, 7.0), (-6.0, 7.0), (6.0, -7.0), (-6.0, -7.0))
_FARTHER = (1.0, 2.2, 3.6, 5.2)
"""A name moves away, with a line to its point, only where all nearer spots are taken."""


def name_points(
    axes: Axes, points: Sequence[tuple[float, float, str]], bars: Sequence[tuple[float, float, float, float]] = ()
) -> None:
    """Write each (x, y, name) at the free spot nearest to its point; call it when the axes' limits are settled.

    Names keep off `bars` too: intervals from (x0, y0) to (x1, y1).
    """
    canvas = axes.figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()  # type: ignore[no-untyped-call]
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    scale = axes.figure.dpi / 72  # offsets are in points, boxes in pixels
    taken = [_around(axes.transData.transform((x, y)), 4 * scale) for x, y, _ in points]  # left, bottom, right, top
    for x0, y0, x1, y1 in bars:
        (left, bottom), (right, top) = axes.transData.transform([(x0, y0), (x1, y1)])
        taken.append(np.array(Bbox.from_extents(left - 1, bottom - 1, right + 1, top + 1).extents))
    frame = np.array([axes.get_window_extent(renderer).extents])
    for x, y, name in sorted(points, key=lambda p: -p[1]):
        best: tuple[float, tuple[float, float], Bbox] | None = None
        text = axes.annotate(name, (x, y), (0, 0), textcoords="offset points", size=7, color=INK, annotation_clip=False)
        extent, at = text.get_window_extent(renderer), axes.transData.transform((x, y))
        for far in _FARTHER:
            for dx, dy in _SPOTS:
                box = _placed(extent, at + scale * far * np.array([dx, dy]), dx, dy)
                outside = box.width * box.height - _covered(box, frame)
                cost = _covered(box, np.array(taken)) + 3 * outside
                if best is None or cost < best[0] - 1e-6:
                    best = (cost, (far * dx, far * dy), box)
            if best is not None and best[0] == 0:
                break
        assert best is not None
        _, (dx, dy), box = best
        text.set(position=(dx, dy), ha=_side(dx, "left", "right"), va=_side(dy, "bottom", "top"))
        taken.append(np.array(box.extents))
        if max(abs(dx), abs(dy)) > 12:
            line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2}
            axes.annotate("", (x, y), (dx, dy), textcoords="offset points", arrowprops=line)


def _placed(extent: Bbox, at: NDArray[np.float64], dx: float, dy: float) -> Bbox:
    """The box of a text of this extent that stands `at` a point: right of it for a positive `dx`, above for `dy`."""
    left = at[0] - extent.width * (0.0 if dx > 0 else 1.0 if dx < 0 else 0.5)
    bottom = at[1] - extent.height * (0.0 if dy > 0 else 1.0 if dy < 0 else 0.5)
    return Bbox.from_bounds(left, bottom, extent.width, extent.height)


def _side(offset: float, positive: str, negative: str) -> str:
    return positive if offset > 0 else negative if offset < 0 else "center"


def _around(point: Iterable[float], reach: float) -> NDArray[np.float64]:
    x, y = point
    return np.array([x - reach, y - reach, x + reach, y + reach])


def _covered(box: Bbox, others: NDArray[np.float64]) -> float:
    """The area, in square pixels, that a box shares with `others` (n, 4: left, bottom, right, top), added up."""
    width = np.minimum(box.x1, others[:, 2]) - np.maximum(box.x0, others[:, 0])
    height = np.minimum(box.y1, others[:, 3]) - np.maximum(box.y0, others[:, 1])
    return float((width.clip(0) * height.clip(0)).sum())
