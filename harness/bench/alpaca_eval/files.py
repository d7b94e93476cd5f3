"""AlpacaEval on disk: instructions, model outputs and annotations, read with errors that name the row."""

import json
import lzma
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.core.canonical import Json
from harness.core.errors import HarnessError, brief
from harness.core.lines import parse_json, read_lines, write_json

Record = Mapping[str, Json]
_MOST = 1e15
"""No index or length is as large; NaN and infinities, which Python reads as JSON, are not below it."""


@dataclass(frozen=True)
class Instruction:
    """One of AlpacaEval's instructions."""

    index: int
    """Its place among the 805: what its difficulty is known by."""
    text: str
    dataset: str


@dataclass(frozen=True)
class Annotation:
    """One verdict on a pair, of an annotations file."""

    model: str
    baseline: str
    judge: str
    index: int
    dataset: str
    preference: float | None
    """1..2, 2: the model is better; None where there is no verdict."""
    length: int | None
    """Characters of the model's answer."""
    baseline_length: int | None


def read_records(path: Path, generator: str = "") -> list[dict[str, Json]]:
    """The rows of a .parquet, .json, .json.xz or .jsonl file; of a table of many models only one `generator`'s.

    Raises:
        HarnessError: no such file, another kind of file, broken content, a row that is no object.
    """
    where = str(path)
    if not path.is_file():
        raise HarnessError("no such file", where=where)
    try:
        if path.suffix == ".parquet":
            rows = _parquet(path, generator)
        elif path.suffix == ".jsonl":
            rows = list(read_lines(path))
        elif path.suffix == ".json" or path.name.endswith(".json.xz"):
            content = path.read_bytes()
            rows = parse_json((lzma.decompress(content) if path.suffix == ".xz" else content).decode("utf-8-sig"))
        else:
            raise HarnessError(
                f"cannot read '{path.suffix}' files", where=where, fix="Give .json, .json.xz, .jsonl or .parquet."
            )
    except json.JSONDecodeError as error:
        raise HarnessError(
            f"broken JSON ({error.msg} at column {error.colno})",
            where=f"{where}:{error.lineno}",
            fix="Mend the file, or write it again.",
        ) from None
    except (ValueError, OSError, lzma.LZMAError) as error:
        raise HarnessError(f"cannot be read ({brief(error)})", where=where) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise HarnessError("must be a list of objects", where=where)
    return [row for row in rows if not generator or row.get("generator", generator) == generator]


def _parquet(path: Path, generator: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    try:
        many = generator and "generator" in pq.read_schema(path).names
        frame = pd.read_parquet(path, filters=[("generator", "==", generator)] if many else None)
    except Exception as error:  # a broken file can fail in any way
        raise HarnessError(f"cannot be read ({brief(error)})", where=str(path)) from None
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in rows]


def read_instructions(path: Path) -> list[Instruction]:
    """The instructions in the order of the file; without an `index` column the place in the file is the index.

    Raises:
        HarnessError: a missing or wrong field, an instruction or an index that comes twice, an empty file.
    """
    found: list[Instruction] = []
    texts: dict[str, int] = {}
    indices: dict[int, int] = {}
    for number, row in enumerate(read_records(path)):
        where = f"{path}, row {number + 1}"
        text, index = _text(row, "instruction", where), _index(row, number, where)
        for key, seen in ((text, texts), (index, indices)):
            if key in seen:
                what = "instruction" if seen is texts else "index"
                raise HarnessError(
                    f"its {what} is that of row {seen[key]} too",  # type: ignore[index]
                    where=where,
                    fix="Remove one of the two rows.",
                )
        texts[text], indices[index] = number + 1, number + 1
        found.append(Instruction(index, text, str(row.get("dataset") or "")))
    if not found:
        raise HarnessError("holds no instructions", where=str(path))
    return found


def read_outputs(path: Path, generator: str, instructions: Sequence[Instruction]) -> list[str]:
    """One model's answers to the instructions, matched by their text or, where the file has none, by index.

    Raises:
        HarnessError: the model is not in the file, or an answer is missing, no text, or there twice.
    """
    found: dict[str | int, str] = {}
    by_text = True
    for number, row in enumerate(read_records(path, generator)):
        where = f"{path}, row {number + 1} of {generator}"
        by_text = "instruction" in row
        key = _text(row, "instruction", where) if by_text else _index(row, number, where)
        if key in found:
            raise HarnessError(f"{generator} answers this instruction twice", where=where, fix="Remove one of the two.")
        found[key] = _text(row, "output", where)
    keys = [i.text if by_text else i.index for i in instructions]
    missing = [i.index for i, key in zip(instructions, keys, strict=True) if key not in found]
    if missing:
        some = ", ".join(map(str, missing[:5])) + (" ..." if len(missing) > 5 else "")
        raise HarnessError(
            f"has no answer of {generator} to {len(missing)} instructions (index {some})",
            where=str(path),
            fix=f"Give {generator}'s model_outputs.json, or a table whose `generator` column names it.",
        )
    return [found[key] for key in keys]


def read_annotations(path: Path) -> list[Annotation]:
    """The verdicts of a file in the package's format, or of a table {index, model, preference, len_1, len_2}.

    Without an `index` it is an instruction's place in its model's rows, as the package takes it.

    Raises:
        HarnessError: a missing or wrong field, an empty file.
    """
    found: list[Annotation] = []
    places: dict[str, dict[Json, int]] = {}
    for number, row in enumerate(read_records(path)):
        where = f"{path}, row {number + 1}"
        model = _text(row, "generator_2" if "generator_2" in row else "model", where)
        place = places.setdefault(model, {})
        asked = _text(row, "instruction", where) if "instruction" in row else number
        place.setdefault(asked, len(place))
        found.append(
            Annotation(
                model,
                str(row.get("generator_1") or ""),
                str(row.get("annotator") or ""),
                _index(row, place[asked], where),
                str(row.get("dataset") or ""),
                _preference(row, where),
                _length(row, 2, where),
                _length(row, 1, where),
            )
        )
    if not found:
        raise HarnessError("holds no annotations", where=str(path))
    return found


def _preference(row: Record, where: str) -> float | None:
    """1..2; 0 is the package's older mark of a draw, -1 its mark of a failure."""
    if "preference" not in row:
        raise HarnessError("has no `preference`", where=where, fix="Give annotations.json as alpaca_eval writes it.")
    value = row["preference"]
    if value is None or value != value or value == -1:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not (value == 0 or 1 <= value <= 2):
        raise HarnessError(f"`preference` must be 1 to 2, 0 (a draw) or null, not {value!r}", where=where)
    return float(value) or 1.5


def _length(row: Record, which: int, where: str) -> int | None:
    if f"len_{which}" in row:
        length = row[f"len_{which}"]
        sound = isinstance(length, int | float) and not isinstance(length, bool) and 0 <= length < _MOST
        if length is not None and not sound:
            raise HarnessError(f"`len_{which}` must be a number of characters, not {length!r}", where=where)
        return None if length is None else int(length)
    text = row.get(f"output_{which}")
    if text is not None and not isinstance(text, str):
        raise HarnessError(f"`output_{which}` must be a text", where=where)
    return None if text is None else len(text)


def _index(row: Record, place: int, where: str) -> int:
    value = row.get("index", place)
    sound = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST
    if not sound or value != int(value):
        raise HarnessError(f"`index` must be a number from 0 on, not {value!r}", where=where)
    return int(value)


def _text(row: Record, key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise HarnessError(f"has no `{key}` (a text)", where=where)
    return value


def write_records(path: Path, rows: Sequence[Record]) -> None:
    """Write a JSON list as the package does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, list(rows), indent=2, sort_keys=False, ensure_ascii=False)
