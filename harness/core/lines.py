"""JSON files and lines: read with errors that name the line; append so that a kill loses at most the last line."""

import gzip
import json
import lzma
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

from harness.core.canonical import Json
from harness.core.errors import HarnessError

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_lines(path: Path) -> Iterator[Json]:
    """Every record of a JSON-lines file; a broken line is an error that names it."""
    return (record for _, record in numbered_lines(path))


def numbered_lines(path: Path) -> Iterator[tuple[int, Json]]:
    """Every record of a JSON-lines file (also .xz, .gz) with its line number, for errors that must name the line."""
    return ((number, parsed_line(line, f"{path}:{number}")) for number, line in json_lines(path))


def json_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Every line with a record, not parsed, with its number; HarnessError where the file is absent or cut off."""
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except FileNotFoundError:
        raise HarnessError("no such file", where=str(path)) from None
    except (lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise HarnessError(f"not a whole {path.suffix} file ({error})", where=str(path)) from None


def _open(path: Path) -> "IO[bytes] | gzip.GzipFile":
    if path.suffix == ".xz":
        return lzma.open(path)
    if path.suffix == ".gz":
        return gzip.open(path)
    return path.open("rb")


def parsed_line(line: bytes, where: str) -> Json:
    """The record in a line of a JSON-lines file; HarnessError that says `where` for a broken one."""
    try:
        return parse_json(line.decode())
    except json.JSONDecodeError as error:
        fault = f"{error.msg.removesuffix(' at')} at column {error.colno}"
    except UnicodeDecodeError as error:
        fault = f"not UTF-8 text: {error.reason} at byte {error.start + 1}"
    except ValueError as error:
        fault = str(error)
    raise HarnessError(f"broken JSON line ({fault})", where=where, fix="Mend or remove this line.")


def parse_json(text: str) -> Json:
    """`json.loads`, whose every fault is a ValueError with a short reason.

    Half of a surrogate pair (`"\\ud800"`) is one too: no file can hold it.
    """
    try:
        value = json.loads(text)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("text with half of a surrogate pair") from None
    except json.JSONDecodeError:
        raise
    except ValueError:  # Python's own limit
        raise ValueError("a number of thousands of digits") from None
    return value


def read_json(path: Path, fix: str = "") -> Json:
    """The value in a JSON file.

    Raises:
        HarnessError: it is not there, or is no JSON; names the file, and the line where one is to blame.
    """
    try:
        return parse_json(path.read_bytes().decode())
    except json.JSONDecodeError as error:
        where, fault = f"{path}:{error.lineno}", f"broken JSON ({error.msg} at column {error.colno})"
    except UnicodeDecodeError:
        where, fault = str(path), "not UTF-8 text"
    except ValueError as error:
        where, fault = str(path), f"broken JSON ({error})"
    except OSError as error:
        where, fault = str(path), f"cannot be read ({error.strerror})"
    raise HarnessError(fault, where=where, fix=fix)


def write_lines(path: Path, records: Iterable[Json]) -> None:
    """Write a whole JSON-lines file."""
    _put_lines(path, records, "w")


def append_lines(path: Path, records: Iterable[Json]) -> None:
    """Add records to the end of a JSON-lines file (not synced; a `Journal` is)."""
    _put_lines(path, records, "a")


def _put_lines(path: Path, records: Iterable[Json], mode: str) -> None:
    with path.open(mode, encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Write a file that is whole whenever it is there."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def write_json(path: Path, value: Json, *, indent: int = 1, sort_keys: bool = True, ensure_ascii: bool = True) -> None:
    """Write a JSON file that is whole whenever it is there."""
    text = json.dumps(value, indent=indent, sort_keys=sort_keys, ensure_ascii=ensure_ascii)
    write_atomically(path, text + "\n")


class Journal:
    """An append-only JSON-lines file that survives kill -9: each append is synced, a torn last line is cut off.

    Each line is {"record": ..., "crc32": ...}: from the first that is not what was written, all is cut off, to be made
    again. Stages keep finished samples in one (in their work folder) and skip those on the next start::

        with Journal(ctx.work / "answers.jsonl") as journal:
            done = {record["id"] for record in journal.records}
            ...
            journal.append({"id": ..., ...})
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Json] = []
        keep = 0
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                try:
                    self.records.append(_checked(line))
                except ValueError:
                    break
                keep += len(line)
        self._file = path.open("ab")
        self._file.truncate(keep)

    def append(self, *records: Json) -> None:
        """Append records and wait until the disk has them."""
        self._file.write(b"".join(_with_check(record) for record in records))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.records.extend(records)

    def close(self) -> None:
        """Close the file; the records stay readable."""
        self._file.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _with_check(record: Json) -> bytes:
    return json.dumps({"record": record, "crc32": _check(record)}, ensure_ascii=False).encode() + b"\n"


def _checked(line: bytes) -> Json:
    """The record in a line; ValueError where it is not what was written."""
    kept = json.loads(line)
    if not line.endswith(b"\n") or not isinstance(kept, dict) or kept.get("crc32") != _check(kept.get("record")):
        raise ValueError
    return kept["record"]


def _check(record: Json) -> int:
    return zlib.crc32(json.dumps(record).encode())
