"""Records from files: JSON, JSON lines (compressed too), Parquet, CSV and Arrow."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError, brief
from harness.core.lines import read_json, read_lines

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """The records of a file that holds objects alone; HarnessError for any other file."""
    rows = read_records(path)
    if not all(isinstance(row, dict) for row in rows):
        raise HarnessError("every record must be an object with named fields", where=str(path))
    return rows


def read_records(path: Path) -> list[Any]:
    """Every record of a file; HarnessError if there is no file or no record."""
    if not path.is_file():
        raise HarnessError("no such data file", where=str(path))
    match path.suffixes[-2:]:
        case [*_, ".parquet"]:
            rows: list[Any] = _read_parquet(path)
        case [*_, ".jsonl"] | [".jsonl", ".xz" | ".gz"]:
            rows = list(read_lines(path))
        case [*_, ".json"]:
            rows = _read_json(path)
        case [*_, ".csv" | ".arrow" as kind]:
            rows = _read_csv(path) if kind == ".csv" else _read_arrow(path)
        case _:
            raise HarnessError(
                f"cannot read {path.suffix or 'a file without an ending'}",
                where=str(path),
                fix="Use .json, .jsonl, .jsonl.gz, .jsonl.xz, .parquet, .csv, .arrow.",
            )
    if not rows:
        raise HarnessError("the file holds no rows", where=str(path))
    return rows


def _read_parquet(path: Path) -> list[Row]:
    import pyarrow.parquet as pq

    return _rows(path, "Parquet", lambda: pq.read_table(path))


def _read_csv(path: Path) -> list[Row]:
    """The rows of a CSV file; quoted texts may hold line breaks, and an empty field of texts is an empty text."""
    from pyarrow import csv

    options = csv.ParseOptions(newlines_in_values=True)
    return _rows(path, "CSV", lambda: csv.read_csv(path, parse_options=options))


def _read_arrow(path: Path) -> list[Row]:
    """A file that `datasets` saved: Arrow's stream format."""
    import pyarrow as pa

    def table() -> "pa.Table":
        with pa.memory_map(str(path)) as source:
            return pa.ipc.open_stream(source).read_all()

    return _rows(path, "Arrow", table)


def _rows(path: Path, kind: str, table: "Callable[[], pa.Table]") -> list[Row]:
    import pyarrow as pa

    try:
        rows: list[Row] = table().to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise HarnessError(f"not a readable {kind} file ({brief(error)})", where=str(path)) from None
    return rows


def _read_json(path: Path) -> list[Any]:
    try:
        data = read_json(path)
    except HarnessError as error:
        if "Extra data" in error.what:  # JSON lines with the ending .json
            return list(read_lines(path))
        raise
    if not isinstance(data, list):
        raise HarnessError("a JSON data file must be a list of records", where=str(path))
    return data
