"""Records from files, one after the other: JSON, JSON lines (compressed too), Parquet, CSV and Arrow."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError, brief
from harness.core.lines import json_lines, parsed_line, read_json

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
_ROWS = 1024
"""Rows of a table that are made into Python's objects at once."""
_BLOCK = 64 << 20
"""Bytes of a CSV file that are parsed at once: no row may be longer."""
_LISTED = 5
"""Broken lines that are listed; all are counted."""


def read_rows(path: Path) -> list[Row]:
    """The records of a file that holds objects alone; HarnessError for any other file."""
    rows = list(records(path))
    if not all(isinstance(row, dict) for row in rows):
        raise HarnessError("every record must be an object with named fields", where=str(path))
    return rows


def records(path: Path) -> Iterator[Any]:
    """Every record of a file, which is not read whole (a JSON list is).

    Raises:
        HarnessError: no file, no record, or (at the end, which names and counts them) broken lines.
    """
    if not path.is_file():
        raise HarnessError("no such data file", where=str(path))
    is_empty = True
    for row in _reader(path)(path):
        is_empty = False
        yield row
    if is_empty:
        raise HarnessError("the file holds no rows", where=str(path))


def _reader(path: Path) -> Callable[[Path], Iterable[Any]]:
    match path.suffixes[-2:]:
        case [*_, ".parquet"]:
            return _parquet
        case [*_, ".jsonl"] | [".jsonl", ".xz" | ".gz"]:
            return _lines
        case [*_, ".json"]:
            return _list
        case [*_, ".csv"]:
            return _csv
        case [*_, ".arrow"]:
            return _arrow
    raise HarnessError(
        f"cannot read {path.suffix or 'a file without an ending'}",
        where=str(path),
        fix="Use .json, .jsonl, .jsonl.gz, .jsonl.xz, .parquet, .csv, .arrow.",
    )


def _lines(path: Path) -> Iterator[Any]:
    faults: list[HarnessError] = []
    for number, line in json_lines(path):
        try:
            row = parsed_line(line, f"{path}:{number}")
        except HarnessError as error:
            faults.append(error)
            continue
        yield row
    if faults:
        first, others = faults[0], [fault.where.rpartition(":")[2] for fault in faults[1:]]
        more = f", and {len(others) - _LISTED:,} more" if len(others) > _LISTED else ""
        also = f" Broken too: lines {', '.join(others[:_LISTED])}{more}." if others else ""
        raise HarnessError(first.what, where=first.where, fix=first.fix + also)


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow.parquet as pq

    return _rows(path, "Parquet", lambda: pq.ParquetFile(path).iter_batches(_ROWS))


def _csv(path: Path) -> Iterator[Row]:
    """The rows of a CSV file; quoted texts may hold line breaks, and an empty field of texts is an empty text."""
    import pyarrow as pa
    from pyarrow import csv

    def batches(types: "Mapping[str, pa.DataType]") -> Any:
        return csv.open_csv(
            path,
            csv.ReadOptions(block_size=_BLOCK),
            csv.ParseOptions(newlines_in_values=True),
            csv.ConvertOptions(column_types=types),
        )

    def typed() -> Any:
        # The reader infers types from the file's beginning; a text that follows in a column of numbers would end it.
        names = batches({}).schema.names
        return batches(_types(batches(dict.fromkeys(names, pa.string()))))

    return _rows(path, "CSV", typed)


def _types(batches: "Iterable[pa.RecordBatch]") -> "dict[str, pa.DataType]":
    """The first of whole numbers, numbers, truth values and texts that all values of each column are."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    nulls = pa.array(csv.ConvertOptions().null_values)
    fits: dict[str, list[Any]] = {}
    for batch in batches:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            filled = column.filter(pc.invert(pc.is_in(column, nulls)))
            kinds = fits.get(name, [pa.int64(), pa.float64(), pa.bool_()])
            fits[name] = [kind for kind in kinds if _fits(filled, kind)]
    return {name: (kinds or [pa.string()])[0] for name, kinds in fits.items()}


def _fits(column: "pa.Array", kind: "pa.DataType") -> bool:
    import pyarrow as pa

    try:
        column.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _arrow(path: Path) -> Iterator[Row]:
    """A file that `datasets` saved: Arrow's stream format."""
    import pyarrow as pa

    return _rows(path, "Arrow", lambda: pa.ipc.open_stream(pa.memory_map(str(path))))


def _rows(path: Path, kind: str, batches: "Callable[[], Iterable[pa.RecordBatch]]") -> Iterator[Row]:
    import pyarrow as pa

    try:
        for batch in batches():
            for start in range(0, batch.num_rows, _ROWS):
                yield from batch.slice(start, _ROWS).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise HarnessError(f"not a readable {kind} file ({brief(error)})", where=str(path)) from None


def _list(path: Path) -> Iterable[Any]:
    try:
        data = read_json(path)
    except HarnessError as error:
        if "Extra data" in error.what:  # JSON lines with the ending .json
            return _lines(path)
        raise
    if isinstance(data, list):
        return iter(data)
    raise HarnessError("a JSON data file must be a list of records", where=str(path))
