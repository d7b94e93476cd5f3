"""A run's answers for people to label, as the file that `judge.audit.human` reads (`bench/labels.py`).

The questions are drawn at random and stand in the order of the draw, so that the labels of somebody who stops half way
are of a random share too. Which model gave an answer is not said; answers with the same text are labelled once.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from harness.bench.api import Question
from harness.bench.audit import drawn
from harness.bench.labels import PERCENT, POINTS, Scale
from harness.core.canonical import digest
from harness.core.errors import HarnessError
from harness.core.lines import read_lines, write_atomically
from harness.judge.settings import DrawSettings
from harness.record.run import read_run
from harness.record.tables import TRANSCRIPTS, read_table

_FAMILIES = {"points": POINTS, "%": PERCENT}
_PROGRAM = "program"


@dataclass(frozen=True)
class LabelLine:
    """One answer to label; `harness.bench.labels` says what a value is."""

    benchmark: str
    item: str
    turn: int
    answer: str
    value: float | None
    question: str
    reference: str | None
    """The baseline's answer where two are compared, else a right answer where there is one."""
    earlier: tuple[tuple[str, str], ...]
    """The turns before: question and answer of each."""
    scale: Scale

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What the label belongs to."""
        return self.benchmark, self.item, self.turn, self.answer


def draw_labels(folder: Path, benchmark: str | None, draw: DrawSettings) -> list[LabelLine]:
    """The answers of a finished run to the drawn questions of its judged benchmarks, without values.

    An answer that equals the baseline's is a draw, which nobody needs to say.

    Raises:
        HarnessError: the run has no judged benchmark (of that name), or does not hold what a person would have to see.
    """
    record = read_run(folder / "run.json")
    judged = list(dict.fromkeys(j.benchmark for j in record.judges if j.judge.partition(":")[0] != _PROGRAM))
    if benchmark is not None:
        judged = [name for name in judged if name == benchmark]
    units = {m.benchmark: m.unit for m in reversed(record.metrics)}  # of each benchmark's first metric
    if not judged:
        what = f"has no answers {f'to {benchmark} ' if benchmark else ''}that a model judged"
        raise HarnessError(what, where=str(folder), fix="Programs need no audit.")
    table = read_table(folder, TRANSCRIPTS)
    lines: list[LabelLine] = []
    for name in judged:
        scale = next((scale for unit, scale in _FAMILIES.items() if units[name].startswith(unit)), None)
        rows = table[(table["benchmark"] == name) & table["answer"].notna()]
        if scale is None or rows.empty or (scale == PERCENT and rows["reference"].isna().any()):
            raise HarnessError(f"does not hold what a person needs to label {name}", where=str(folder))
        lines += _of_benchmark(rows, scale, draw)
    return lines


def _of_benchmark(rows: pd.DataFrame, scale: Scale, draw: DrawSettings) -> Iterator[LabelLine]:
    """The lines of one benchmark: the questions in the order of the draw, the answers to each in a random order."""
    firsts = rows.drop_duplicates("item")
    asked = [Question(str(i), str(c), (), 0.0, 1) for i, c in zip(firsts["item"], firsts["category"], strict=True)]
    of_item = dict(list(rows.groupby("item", sort=False)))
    for item in drawn(asked, draw):
        lines: dict[tuple[str, str, int, str], LabelLine] = {}
        for _, of_cell in of_item[item].sort_values("turn").groupby("cell", sort=False):
            earlier: list[tuple[str, str]] = []
            for row in of_cell.to_dict("records"):
                question, answer = str(row["question"]), str(row["answer"])
                reference = None if pd.isna(row["reference"]) else str(row["reference"])
                value = 50.0 if scale == PERCENT and answer == reference else None
                lead = str(row["benchmark"]), item, int(row["turn"]), answer, value
                line = LabelLine(*lead, question, reference, tuple(earlier), scale)
                lines.setdefault(line.key, line)
                earlier.append((question, answer))
        yield from sorted(lines.values(), key=lambda line: (line.turn, digest([draw.seed, *line.key])))


def read_label_lines(path: Path) -> list[LabelLine]:
    """The lines of a file that `write_label_lines` wrote.

    Raises:
        HarnessError: a line is not such a line.
    """
    lines = []
    for row in read_lines(path):
        try:
            lines.append(LabelLine(**{**row, "earlier": tuple((q, a) for q, a in row["earlier"])}))
        except (TypeError, KeyError, ValueError):
            raise HarnessError("is no file of labels", where=str(path), fix="Give another file with --out.") from None
    return lines


def with_values(lines: Sequence[LabelLine], known: Sequence[LabelLine]) -> list[LabelLine]:
    """The lines with the values that `known` ones have; known ones that are not among them stand at the end."""
    values = {line.key: line for line in known}
    return [*(values.pop(line.key, line) for line in lines), *values.values()]


def write_label_lines(path: Path, lines: Sequence[LabelLine]) -> None:
    """Write the file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(json.dumps(asdict(line), ensure_ascii=False) + "\n" for line in lines))
