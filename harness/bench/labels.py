"""A file of verdicts on some of a run's answers, of people or of a judge: JSON lines, a label to a line.

{"benchmark": "mt_bench", "item": "81", "turn": 1, "answer": "...", "value": 7}

`value` is in the unit of the benchmark's first metric: points, or the percentage of a win over the baseline (0, 50,
100, ...). A line without a value is not labelled yet. A label belongs to every answer with its text, whichever model
gave it; labels of other answers are left out. AlpacaEval's annotations.json holds the answers too and is read as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from harness.bench.alpaca_eval.files import read_annotations, read_records
from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.lines import numbered_lines
from harness.generate.api import Answer

Scale = Literal["points", "percent"]
POINTS: Scale = "points"
"""1 to 10."""
PERCENT: Scale = "percent"
"""Of a win over the baseline: 100, 75 (a little better), 50, 25, 0."""
Unit = tuple[str, int]
"""Item and turn."""


def read_labels(path: Path, benchmark: str, answers: Sequence[Answer]) -> dict[Unit, float]:
    """The mean label of each of these answers' turns that has labels.

    Raises:
        HarnessError: a line (or a row of annotations) is no label.
    """
    texts = {(answer.id, turn): text for answer in answers for turn, text in enumerate(answer.turns, 1)}
    values: dict[Unit, list[float]] = {}
    for of, unit, answer, value in _lines(path) if path.suffix == ".jsonl" else _annotations(path):
        if of == benchmark and value is not None and texts.get(unit) == answer:
            values.setdefault(unit, []).append(value)
    return {unit: sum(of_unit) / len(of_unit) for unit, of_unit in values.items()}


Label = tuple[str, Unit, str, float | None]
"""Benchmark, item and turn, the answer's text, its value."""


def _lines(path: Path) -> Iterator[Label]:
    return (_label(row, f"{path}:{number}") for number, row in numbered_lines(path))


def _annotations(path: Path) -> Iterator[Label]:
    """AlpacaEval's, each with the answer that it is on."""
    for number, (row, annotation) in enumerate(zip(read_records(path), read_annotations(path), strict=True), 1):
        if not isinstance(row.get("output_2"), str):
            fix = "Give annotations.json as alpaca_eval writes it."
            raise HarnessError("has no `output_2` (the answer's text)", where=f"{path}, row {number}", fix=fix)
        value = None if annotation.preference is None else 100 * (annotation.preference - 1)
        yield "alpaca_eval", (str(annotation.index), 1), row["output_2"], value


def _label(row: Json, where: str) -> Label:
    kinds: Mapping[str, type | tuple[type, ...]] = {
        "benchmark": str,
        "item": str,
        "turn": int,
        "answer": str,
        "value": (int, float, type(None)),
    }
    for key, kind in kinds.items():
        if not isinstance(row, dict) or key not in row or not isinstance(row[key], kind) or isinstance(row[key], bool):
            raise HarnessError(
                f"is no label: it has no sound `{key}`", where=where, fix="`harness judge label` writes such files."
            )
    value = row["value"]
    if value is not None and not -_MOST < value < _MOST:  # NaN, which Python reads as JSON, is not between them
        raise HarnessError(f"`value` must be a number, not {value}", where=where)
    return row["benchmark"], (row["item"], row["turn"]), row["answer"], value


_MOST = 1e6
