"""Records from files: JSON, JSON lines (compressed too) and Parquet."""

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.lines import read_lines

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """Every record of a JSON, JSONL or Parquet file; HarnessError when there is none or one is no object."""
    if not path.is_file():
        raise HarnessError("no such data file", where=str(path))
    match path.suffixes[-2:]:
        case [*_, ".parquet"]:
            rows = _read_parquet(path)
        case [*_, ".jsonl"]:
            rows = list(read_lines(path))
        case [".jsonl", ".xz" | ".gz"]:
            rows = _read_compressed(path)
        case [*_, ".json"]:
            rows = _read_json(path)
        case _:
            raise HarnessError(
                f"cannot read {path.suffix or 'a file without an ending'}",
                where=str(path),
                fix="Use .json, .jsonl, .jsonl.gz, .jsonl.xz, .parquet.",
            )
    if not all(isinstance(row, dict) for row in rows):
        raise HarnessError("every record must be an object with named fields", where=str(path))
    if not rows:
        raise HarnessError("the file holds no rows", where=str(path))
    return rows


def _read_parquet(path: Path) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[Row] = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise HarnessError(f"not a readable Parquet file ({error})", where=str(path)) from None
    return rows


def _read_compressed(path: Path) -> list[Any]:
    opener: Any = lzma.open if path.suffix == ".xz" else gzip.open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            lines = [line for line in file if line.strip()]
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise HarnessError(f"not a readable compressed file ({error})", where=str(path)) from None
    try:
        return [json.loads(line) for line in lines]
    except json.JSONDecodeError as error:
        raise HarnessError(f"broken JSON ({error.msg})", where=str(path)) from None


def _read_json(path: Path) -> list[Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise HarnessError("not UTF-8 text", where=str(path)) from None
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # JSON lines by the wrong name
            return list(read_lines(path))
        where = f"{path}:{error.lineno}"
        raise HarnessError(f"broken JSON ({error.msg} at column {error.colno})", where=where) from None
    if not isinstance(data, list):
        raise HarnessError("a JSON data file must be a list of records", where=str(path))
    return data
