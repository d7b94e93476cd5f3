"""The house style of figures: one colour and marker per thing, neutral ink that a page can recolour."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe & Ito's colours, readable with every common colour blindness; the yellow is left out (lost on white).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
INK, MUTED, GRID = "#1c2128", "#66707d", "#d5dae1"
_ON_DARK = ("#4aa8e0", "#ff8a4c", "#34c79a", "#e6a3c4", "#f2b93b", "#8accf2")
_ROLES = {INK: "ink", MUTED: "muted", GRID: "grid"} | {c.lower(): f"series{k}" for k, c in enumerate(COLOURS)}

_RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "harness",
}


@dataclass(frozen=True)
class Look:
    """How one thing is drawn, everywhere."""

    colour: str
    marker: str
    dash: str = "-"


def figure(width: float, height: float, *, polar: bool = False) -> tuple[Figure, Axes]:
    """A figure (inches) with one axes in the house style; touches no pyplot state."""
    with mpl.rc_context(_RC):
        drawn = Figure(figsize=(width, height))
        FigureCanvasAgg(drawn)
        axes = drawn.add_subplot(projection="polar" if polar else None)
        axes.tick_params(length=0)
    drawn.patch.set_alpha(0)
    axes.patch.set_alpha(0)
    return drawn, axes


def to_svg(drawn: Figure, name: str) -> str:
    """The same bytes for the same figure: no date, ids from `name`; ink carries classes that a page can recolour."""
    buffer = StringIO()
    with mpl.rc_context(_RC | {"svg.hashsalt": name}):
        drawn.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    # Two figures in one page must not share ids.
    prefix = "f" + hashlib.sha256(name.encode()).hexdigest()[:6] + "-"
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\1{prefix}", text)
    return re.sub(r'style="([^"]*)"', _with_classes, text)


def _with_classes(found: re.Match[str]) -> str:
    """`class="ink-f grid-s"` beside a style that fills with ink and strokes with the grid's colour."""
    style = found[1].replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans'")
    names = [f"{_ROLES[c]}-{p[0]}" for p, c in re.findall(r"(fill|stroke): (#[0-9a-f]{6})", style) if c in _ROLES]
    return f'class="{" ".join(names)}" style="{style}"' if names else f'style="{style}"'


DARK = {"ink": "#e8ebef", "muted": "#9aa4b2", "grid": "#3a424d"} | {f"series{k}": c for k, c in enumerate(_ON_DARK)}
"""What each role's colour becomes on a dark ground."""


def dark_style() -> str:
    """CSS that recolours a figure where the reader prefers dark."""
    rules = [f".{r}-f {{ fill: {c} !important }} .{r}-s {{ stroke: {c} !important }}" for r, c in DARK.items()]
    return "@media screen and (prefers-color-scheme: dark) {\n" + "\n".join(rules) + "\n}\n"


_LEGEND_ROWS, _LEGEND_ROW = 6, 0.23
"""How many rows of a legend a figure has room for, and the inches that each further one takes."""


def legend_below(drawn: Figure) -> None:
    """The legend under the axes; a figure with many entries grows by what they need."""
    entries = len(drawn.axes[0].get_legend_handles_labels()[1])
    columns = 2 if entries <= 2 * _LEGEND_ROWS else 3
    width, height = drawn.get_size_inches()
    further = max(0, -(-entries // columns) - _LEGEND_ROWS)
    drawn.set_size_inches(width, height + further * _LEGEND_ROW)
    drawn.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=8, labelcolor=INK)


def settle(drawn: Figure) -> None:
    """Lay the figure out once, for all the files it is saved to: this costs as much as drawing it.

    The figure has no layout engine of its own, since one that has is drawn twice for each file.
    """
    ConstrainedLayoutEngine().execute(drawn)


_PAPER: dict[str, dict[str, None]] = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None}}
"""Formats beside the SVG, and what would make two files of one figure differ."""


def save(draw: Callable[[], Figure], name: str, folder: Path) -> str:
    """Draw, write NAME.svg, .png and .pdf; returns the SVG for a page, without its own dark style."""
    with mpl.rc_context(_RC):
        drawn = draw()
        settle(drawn)
    svg = to_svg(drawn, name)
    end_of_tag = svg.index(">") + 1
    (folder / f"{name}.svg").write_text(
        svg[:end_of_tag] + f"\n<style>{dark_style()}</style>" + svg[end_of_tag:], encoding="utf-8"
    )
    drawn.patch.set_alpha(1)  # a page shows through the SVG alone
    for kind, metadata in _PAPER.items():
        buffer = BytesIO()
        with mpl.rc_context(_RC):
            drawn.savefig(buffer, format=kind, dpi=200, facecolor="white", transparent=False, metadata=metadata)
        (folder / f"{name}.{kind}").write_bytes(buffer.getvalue())
    return svg
