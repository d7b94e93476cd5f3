"""How every command prints a table: for a terminal, as CSV or as JSON; on stdout, and nothing else is."""

import json
import sys
from typing import Any

import pandas as pd

from harness.core.errors import HarnessError

_FORMATS = ("table", "csv", "json")
_NO_LIMIT = 10_000
"""Columns of a line that goes to a file or a pipe: nothing is cut."""


def emit(frame: pd.DataFrame, format_: str) -> None:
    """Print a table on stdout as `table`, `csv` or `json` (a list of rows; what is missing is null).

    Raises:
        HarnessError: another format.
    """
    check_format(format_)
    if format_ == "csv":
        print(frame.to_csv(index=False), end="")
    elif format_ == "json":
        rows = [{str(k): _plain(v) for k, v in row.items()} for row in frame.to_dict("records")]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        _table(frame)


def check_format(format_: str) -> None:
    """For a command that works long before it prints."""
    if format_ not in _FORMATS:
        raise HarnessError(f"no such format: {format_}", where="--format", fix=f"Choose from {', '.join(_FORMATS)}.")


def _table(frame: pd.DataFrame) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for name in frame.columns:
        number = pd.api.types.is_numeric_dtype(frame[name])
        table.add_column(Text(str(name)), justify="right" if number else "left")
    for row in frame.itertuples(index=False):
        table.add_row(*(Text(_shown(value)) for value in row))
    Console(width=None if sys.stdout.isatty() else _NO_LIMIT).print(table)


def _plain(value: Any) -> Any:
    """A cell as JSON: pandas' and numpy's scalars as Python's, every kind of missing as null."""
    if not isinstance(value, list | dict) and pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value


def _shown(value: Any) -> str:
    plain = _plain(value)
    if plain is None:
        return "-"
    return f"{plain:.3f}" if isinstance(plain, float) else str(plain)
