"""Tables with several sources side by side: a paper's numbers, what follows from them, and a run's own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from harness.report.measure import Estimate
from harness.report.numbers import digits, number
from harness.report.tables import Column, Entry, Shown, Table, mark_notes

Origin = Literal["published", "derived", "by eye", "run"]
MARKS: Mapping[Origin, tuple[str, str]] = {
    "derived": ("*", "derived here from printed numbers"),
    "by eye": ("~", "read off a figure by eye, to about 0.1"),
}
"""Origin -> (the mark beside its numbers, what it means). A number without a mark is as published, or a run's."""


@dataclass(frozen=True)
class Quoted(Shown):
    """A number that is no run's own: where it is from, and its interval where one was derived."""

    origin: Origin
    low: float | None = None
    high: float | None = None
    n: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class Block:
    """What one source puts into a table."""

    source: str
    """`published`, or `run NAME`: what a reader sees in the column `source`."""
    rows: Mapping[str, tuple[str, ...]]
    """Row key -> its texts in the leading columns. Rows of two blocks with one key are one row."""
    columns: Mapping[str, Column]
    entries: Mapping[tuple[str, str], Entry]
    """(row key, column key) -> number; sparse."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PaperTable(Table):
    """A table whose CSV is long: one line per number, with its origin."""

    blocks: tuple[Block, ...] = field(default=(), kw_only=True)
    lead: tuple[Column, ...] = field(default=(), kw_only=True)

    def frame(self) -> pd.DataFrame:
        """A line per number (or bare row): source, leading columns, column, value, low, high, n, total, origin."""
        return pd.DataFrame(_lines(self.blocks, self.lead))


def quoted(
    value: float | None,
    decimals: int,
    origin: Origin = "published",
    interval: tuple[float, float] | None = None,
    counts: tuple[int, int] | None = None,
) -> Quoted:
    """A number with its origin's mark; `interval` and `counts` (n, total) stand behind it as they do in a report."""
    if value is None or pd.isna(value):
        return Quoted(None, "–", origin)
    parts = [number(value, decimals) + MARKS.get(origin, ("",))[0]]
    low, high = (None, None) if interval is None or pd.isna(interval[0]) else interval
    if low is not None and high is not None:
        parts.append(f"[{number(low, decimals)}, {number(high, decimals)}]")
    n, total = counts or (None, None)
    if counts:
        parts.append(f"{n}/{total}")
    return Quoted(float(value), " ".join(parts), origin, low, high, n, total)


def printed(frame: pd.DataFrame, keys: Sequence[str], columns: Sequence[Column], origin: Origin = "published") -> Block:
    """A transcribed table: `keys` are its texts, which name its rows; each column has the digits it is printed with."""
    rows = {" / ".join(texts): texts for texts in _texts(frame, keys)}
    assert len(rows) == len(frame), "the keys must tell rows apart"
    entries: dict[tuple[str, str], Entry] = {}
    for column in columns:
        places = decimals_of(frame[column.key])
        for row, value in zip(rows, frame[column.key], strict=True):
            entries[row, column.key] = quoted(value, places, origin)
    return Block("published", rows, {c.key: c for c in columns}, entries)


def _texts(frame: pd.DataFrame, keys: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(str(v) for v in row) for row in frame[list(keys)].fillna("–").itertuples(index=False)]


def decimals_of(values: "pd.Series[float]") -> int:
    """The most decimals that any of these printed numbers has."""
    return max((len(f"{v:.6f}".rstrip("0").partition(".")[2]) for v in values.dropna()), default=0)


def beside(name: str, title: str, lead: Sequence[Column], blocks: Sequence[Block], notes: Iterable[str]) -> PaperTable:
    """One table of all blocks: rows and columns in order, those with one key shared; new rows begin below a rule."""
    columns = {key: column for block in blocks for key, column in block.columns.items()}
    rows: dict[str, tuple[str, ...]] = {}
    rules = []
    for block in blocks:
        new = {key: texts for key, texts in block.rows.items() if key not in rows}
        if rows and new:
            rules.append(len(rows))
        rows |= new
    entries = {place: entry for block in blocks for place, entry in block.entries.items()}
    body = tuple((*texts, *(entries.get((row, c)) for c in columns)) for row, texts in rows.items())
    own = [note for block in blocks for note in block.notes]
    return PaperTable(
        name,
        title,
        (*lead, *columns.values()),
        body,
        (*legend(blocks), *notes, *own, *mark_notes(body)),
        tuple(rules),
        blocks=tuple(blocks),
        lead=tuple(lead),
    )


def evened(entries: Mapping[tuple[str, str], Entry]) -> dict[tuple[str, str], Entry]:
    """What is known, the estimates of a column with equally many decimals."""
    errors: dict[str, list[float]] = {}
    for (_, column), entry in entries.items():
        if isinstance(entry, Estimate) and entry.stderr:
            errors.setdefault(column, []).append(entry.stderr)
    places = {column: digits(float(np.median(found))) for column, found in errors.items()}
    return {
        place: replace(entry, decimals=places.get(place[1])) if isinstance(entry, Estimate) else entry
        for place, entry in entries.items()
        if entry is not None
    }


def legend(blocks: Sequence[Block]) -> tuple[str, ...]:
    """What the marks mean that occur, as one note."""
    seen = {e.origin for block in blocks for e in block.entries.values() if isinstance(e, Quoted)}
    parts = ["No mark: as published"] if "published" in seen else []
    parts += [f"{mark} {meaning}" for origin, (mark, meaning) in MARKS.items() if origin in seen]
    return (". ".join(parts) + ".",) if parts else ()


def _lines(blocks: Sequence[Block], lead: Sequence[Column]) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []
    for block in blocks:
        for row, texts in block.rows.items():
            where: dict[str, object] = {"source": block.source}
            where |= dict(zip((c.key for c in lead), texts, strict=True))
            found = [(c, block.entries[row, c]) for c in block.columns if (row, c) in block.entries]
            lines += [where | {"column": c} | _numbers(entry) for c, entry in found] or [where]
    return lines


def _numbers(entry: Entry) -> dict[str, object]:
    if isinstance(entry, Estimate | Quoted):
        origin = entry.origin if isinstance(entry, Quoted) else "run"
        parts = {part: getattr(entry, part) for part in ("value", "low", "high", "n", "total")}
        return parts | {"origin": origin}
    return {"value": entry.value if isinstance(entry, Shown) else entry, "origin": "run"}
