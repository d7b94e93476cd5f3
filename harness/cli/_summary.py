"""A run's summary on the terminal, fitted to its width."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table as Drawn
from rich.text import Text

from harness.report.measure import Estimate
from harness.report.numbers import interval, value_text
from harness.report.render_table import entry_text
from harness.report.summary import Summary, Verdicts
from harness.report.tables import Column, Entry, Table

_MOST_ROWS = 24
"""Of the scores' table; a sweep's others are named by a line below it."""
_MOST_LINES = 6
"""Verdicts of a family, and warnings."""
_PIPED = 100
"""Columns where the output is no terminal."""
_COLOURS = {"better": "green", "worse": "red"}


def draw(summary: Summary, pages: Sequence[Path], width: int | None = None) -> None:
    """Print the summary and the pages' paths on stdout, in `width` columns: the terminal's by default."""
    console = Console(width=width or (None if sys.stdout.isatty() else _PIPED), highlight=False, emoji=False)
    for part in _parts(summary, console.width):
        console.print(part)
    for page in pages:
        console.print(Text.assemble("report: ", (str(page), f"link {page.resolve().as_uri()}")), soft_wrap=True)


def _parts(summary: Summary, width: int) -> Iterator[RenderableType]:
    yield Text(f"\n{summary.title}: {summary.swept}")
    yield from _blocks(summary.scores, width)
    if (left := len(summary.scores.rows) - _MOST_ROWS) > 0:
        yield Text(f"{left} more rows: harness scores {summary.title}", style="dim")
    yield from (Text(note, style="dim") for note in summary.scores.notes)
    for family in summary.verdicts:
        yield from _family(family)
    yield Text()
    yield from (Text.assemble(("warning: ", "yellow"), line) for line in summary.warnings[:_MOST_LINES])
    if (left := len(summary.warnings) - _MOST_LINES) > 0:
        yield Text(f"{left} more warnings in the report", style="yellow")
    yield Text(summary.bill, style="dim")


def _family(family: Verdicts) -> Iterator[RenderableType]:
    yield Text(f"\n{family.title}", style="bold")
    if family.hold:
        lines = Drawn.grid(padding=(0, 2, 0, 0))
        for verdict, *said in family.hold[:_MOST_LINES]:
            lines.add_row("", Text(verdict, style=_COLOURS[verdict]), *map(Text, said))
        yield lines
    if (more := len(family.hold) - _MOST_LINES) > 0:
        yield Text(f"  {more} more in the report", style="dim")
    if family.others:
        yield Text(f"  {family.others}", style="dim")


def _blocks(table: Table, width: int) -> Iterator[Drawn]:
    """The table in as few pieces as the width allows: with intervals, without them, or some metrics a piece."""
    labels = next((k for k, column in enumerate(table.columns) if column.kind == "estimate"), len(table.columns))
    lead, metrics = list(range(labels)), list(range(labels, len(table.columns)))
    for text in (_with_interval, _value_alone):
        grid = [[text(e, c) for e, c in zip(row, table.columns, strict=True)] for row in table.rows[:_MOST_ROWS]]
        widths = [_width([*_head(c).splitlines(), *(row[k] for row in grid)]) for k, c in enumerate(table.columns)]
        if sum(widths) <= width:
            break
    room = width - sum(widths[k] for k in lead)
    while metrics:
        here = 1
        while here < len(metrics) and sum(widths[k] for k in metrics[: here + 1]) <= room:
            here += 1
        yield _drawn(table, grid, [*lead, *metrics[:here]])
        metrics = metrics[here:]


def _width(texts: Sequence[str]) -> int:
    """Of a column, with the space beside it."""
    return 2 + max(map(cell_len, texts))


def _drawn(table: Table, grid: Sequence[Sequence[str]], columns: Sequence[int]) -> Drawn:
    drawn = Drawn(box=box.SIMPLE_HEAD, pad_edge=False)
    for k in columns:
        drawn.add_column(Text(_head(table.columns[k])), justify="left" if table.columns[k].kind == "text" else "right")
    for number, row in enumerate(grid):
        best = [isinstance(e := table.rows[number][k], Estimate) and e.best for k in columns]
        cells = [Text(row[k], style="bold" if b else "") for k, b in zip(columns, best, strict=True)]
        drawn.add_row(*cells, end_section=number + 1 in table.rules)
    return drawn


def _head(column: Column) -> str:
    return f"{column.title}\n{column.unit}" if column.unit else column.title


def _with_interval(entry: Entry, column: Column) -> str:
    if not isinstance(entry, Estimate):
        return entry_text(entry, column)
    return f"{value_text(entry)} {interval(entry)}".strip()


def _value_alone(entry: Entry, column: Column) -> str:
    """An estimate without its interval."""
    return value_text(entry) if isinstance(entry, Estimate) else entry_text(entry, column)
