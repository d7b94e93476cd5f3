"""Instruction data from files: from the usual schemas to a canonical form, row by row.

Texts are never held: a dataset of a million conversations takes the memory of their ids.
"""

import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import IO, Any

from harness.core.errors import HarnessError, printable
from harness.core.seeds import derive_seed
from harness.data.columns import ColumnUse, demand, in_words, response_like
from harness.data.conversations import Conversation, line_of, read_conversations
from harness.data.files import records
from harness.data.hub import Files, source_files
from harness.data.joining import Prompts
from harness.data.labels import Labels
from harness.data.schemas import ANSWERS, COLUMNS, SCHEMAS, Unusable, read_row, unread
from harness.data.settings import DatasetSettings, JoinedPrompts


@dataclass(frozen=True)
class Skipped:
    """A row that is no example."""

    id: str
    row: int
    """Its number in the file, from 1."""
    reason: str


@dataclass(frozen=True)
class Reading:
    """What was read of a dataset's files."""

    counts: dict[str, int]
    """`rows` in the file, `matched` by `where`, `kept`, and `skipped: REASON` for each reason."""
    skipped: tuple[Skipped, ...] = ()
    """The matched rows that are no examples."""
    columns: ColumnUse = field(default_factory=ColumnUse)
    without_response: int = 0
    """Conversations that are prompts, to be answered."""
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    """Of the usable rows, before any are drawn (`Labels.record`)."""

    @property
    def record(self) -> dict[str, Any]:
        """The counts and what `columns.in_words` needs; a dataset's artifact stores this."""
        first: dict[str, list[int]] = {}
        for skip in self.skipped:
            first.setdefault(skip.reason, []).append(skip.row)
        return self.counts | {
            "skipped_rows": {reason: rows[:_FIRST_ROWS] for reason, rows in first.items()},
            "columns_used": dict(self.columns.used),
            "columns_not_used": dict(self.columns.unused),
            "without_response": self.without_response,
        }


@dataclass(frozen=True)
class Dataset(Reading):
    """What was read, with the conversations in memory."""

    conversations: list[Conversation] = field(default_factory=list)


_FIX = "docs/data.md lists the columns, roles and shapes that are read."
_FIRST_ROWS = 5
"""How many skipped rows of each reason are listed."""
_JSON = json.JSONEncoder(ensure_ascii=False).encode
_SEEN = 1000
"""Matched rows that tell a file's schema."""


def read_dataset(settings: DatasetSettings, data_seed: int, files: Files | None = None) -> Dataset:
    """`write_dataset`, into memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "conversations.jsonl"
        reading = write_dataset(settings, data_seed, path, files)
        return Dataset(**vars(reading), conversations=list(read_conversations(path)))


def write_dataset(settings: DatasetSettings, data_seed: int, out: Path, files: Files | None = None) -> Reading:
    """Read, join, filter and draw a dataset, and write its conversations. docs/data.md lists the columns that are read.

    `files` are where the settings' `sources` lie; by default they are looked up by their names in the settings.

    A row that is no example is skipped and counted. Without a response column the rows are prompts. Raises HarnessError
    for a file that cannot be read, has no known column (it names the columns), or has no usable row (it says why).
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", dir=out.parent) as texts:
        if settings.pocket is not None:
            from harness.data.pocket import conversations

            made = conversations(settings.pocket)
            texts.writelines(_JSON(c["messages"]) + "\n" for c in made)
            names, kept = [str(c["id"]) for c in made], _drawn(len(made), settings.limit, data_seed)
            reading = Reading({"rows": len(made), "matched": len(made)})
        else:
            reader = _Reader(settings, files or source_files(settings))
            reader.write(texts)
            names = reader.names()
            kept = _drawn(len(names), settings.limit, data_seed)
            reading = reader.reading(kept)
        texts.seek(0)
        lines = enumerate(zip(names, texts, strict=True))
        with out.open("w", encoding="utf-8") as file:
            file.writelines(line_of(*line) for number, line in lines if kept is None or number in kept)
    return replace(reading, counts=reading.counts | {"kept": len(names) if kept is None else len(kept)})


def _drawn(number: int, limit: int | None, data_seed: int) -> set[int] | None:
    """The conversations that are used, at most `limit` of them; None for all."""
    if limit is None or limit >= number:
        return None
    return set(Random(derive_seed(data_seed, "limit")).sample(range(number), limit))


@dataclass(frozen=True)
class _Record:
    """A row of the file, with its number from 1 and its value of the key that names conversations."""

    number: int
    key: str
    row: Any


class _Reader:
    """Passes over the rows of a dataset's files, and notes what its record says."""

    def __init__(self, settings: DatasetSettings, files: Files) -> None:
        if "file" not in files:
            raise HarnessError("a dataset needs a `path`, `hf` or `pocket`", where=settings.name)
        self._settings, self._files, self._where = settings, files, settings.name
        self._counts = Counter[str](rows=0, matched=0)
        self._used, self._unused = Counter[str](), Counter[str]()
        self._labels = Labels()
        self._skipped: list[Skipped] = []
        self._keys: list[str] = []
        self._numbers: list[int] = []
        self._prompts = bytearray()
        self._naming = _Naming(settings)

    def write(self, texts: IO[str]) -> None:
        """Write the messages of each usable row, a line each, in the order of the rows."""
        settings, where = self._settings, self._where
        rows = self._rows()
        if settings.prompts is not None:
            rows = self._joined(rows, Prompts(settings.prompts, self._files["prompts"]), settings.prompts)
        rows = self._usual(self._matching(rows))
        first = list(itertools.islice(rows, _SEEN))
        names = list(dict.fromkeys(name for r in first if isinstance(r.row, dict) for name in r.row))
        if first:
            _check_schema(names, where)
        named, answered = frozenset(settings.columns), not set(ANSWERS).isdisjoint(names)
        known = {"id", *settings.where, *([settings.prompts.on] if settings.prompts else [])}
        for record in itertools.chain(first, rows):
            try:
                example = read_row(record.row, named, answered)
            except Unusable as fault:
                self._skipped.append(Skipped(record.key, record.number, str(fault)))
                continue
            texts.write(_JSON(example.messages) + "\n")
            self._keys.append(record.key)
            self._numbers.append(record.number)
            self._labels.add(record.row)
            self._prompts.append(all(message["role"] != "assistant" for message in example.messages))
            self._used.update(settings.columns.get(name, name) for name in example.used)
            self._unused.update(name for name in unread(record.row, example) if name not in known)

    def names(self) -> list[str]:
        """The id of each usable row."""
        return self._keys if self._naming.by_key else [str(number - 1) for number in self._numbers]

    def reading(self, kept: set[int] | None) -> Reading:
        """What was read; `kept` are the usable rows that were drawn, None for all. HarnessError if no row is usable."""
        skipped = self._skipped
        if not self._naming.by_key:
            skipped = [replace(skip, id=str(skip.row - 1)) for skip in skipped]
        counts = self._counts + Counter(f"skipped: {skip.reason}" for skip in skipped)
        columns = ColumnUse(dict(sorted(self._used.items())), dict(sorted(self._unused.items())))
        prompts = self._prompts if kept is None else [self._prompts[number] for number in kept]
        reading = Reading(dict(counts), tuple(skipped), columns, sum(prompts), self._labels.record)
        if not self._keys:
            reason = in_words(reading.record | {"rows": counts["matched"]})[0]
            raise HarnessError(f"no row can be used: {reason}", where=self._where, fix=_FIX)
        return reading

    def _rows(self) -> Iterator[_Record]:
        for number, row in enumerate((row for file in self._files["file"] for row in records(file)), 1):
            self._counts["rows"] = number
            yield _Record(number, self._naming.key(row, number), row)

    def _joined(self, rows: Iterable[_Record], prompts: Prompts, joined: JoinedPrompts) -> Iterator[_Record]:
        """Each row with the columns of its prompt; a row without a prompt of its key is skipped and counted."""
        columns, is_any = dict[str, None](), False
        for record in rows:
            if isinstance(record.row, dict):
                columns |= dict.fromkeys(record.row)
            if (row := prompts.with_prompt(record.row)) is None:
                self._counts["skipped: no prompt to join"] += 1
            else:
                is_any = True
                yield replace(record, row=row)
        demand([joined.on], columns, self._where, "cannot join prompts")
        if not is_any:
            what = f"no row has a prompt of the same {joined.on!r} in {joined.name}"
            raise HarnessError(what, where=self._where)

    def _matching(self, rows: Iterable[_Record]) -> Iterator[_Record]:
        """The rows with the values of `where`."""
        wanted, columns = self._settings.where, dict[str, None]()
        values: dict[str, set[str]] = {column: set() for column in wanted}
        for record in rows:
            if wanted and isinstance(record.row, dict):
                columns |= dict.fromkeys(record.row)
                for column, seen in values.items():
                    if len(seen) < _SEEN:
                        seen.add(str(record.row.get(column)))
            if _matches(record.row, wanted):
                self._counts["matched"] += 1
                yield record
        demand(wanted, columns, self._where, "cannot filter by `where`")
        if not self._counts["matched"]:
            shown = "; ".join(f"{column}: {', '.join(sorted(seen)[:10])}" for column, seen in values.items())
            fix = f"Values there (the first ten): {printable(shown)}."
            raise HarnessError(f"no row has {wanted}", where=self._where, fix=fix)

    def _usual(self, rows: Iterable[_Record]) -> Iterator[_Record]:
        """The rows with their columns renamed to the usual names that `columns` maps to them."""
        renamed, there = self._settings.columns, dict[str, None]()
        if unknown := sorted(set(renamed) - COLUMNS):
            fix = f"Known: {', '.join(sorted(COLUMNS))}."
            raise HarnessError(f"`columns` names no usual column: {', '.join(unknown)}", where=self._where, fix=fix)
        for record in rows:
            if renamed and isinstance(record.row, dict):
                there |= dict.fromkeys(record.row)
                record = replace(record, row=_with_usual_names(record.row, renamed))
            yield record
        demand(renamed.values(), there, self._where, "`columns`")


def _with_usual_names(row: dict[str, Any], columns: dict[str, str]) -> dict[str, Any]:
    others = {name: value for name, value in row.items() if name not in columns.values()}
    return others | {usual: row.get(actual) for usual, actual in columns.items()}


class _Naming:
    """Whether rows are called by their `id` (or join key), or by their numbers."""

    def __init__(self, settings: DatasetSettings) -> None:
        self._settings, self._key, self._first = settings, "", True
        self._complete, self._matching = True, list[str]()

    def key(self, row: Any, number: int) -> str:
        """The row's value of the key; its number where it has none."""
        if self._first:
            joined = self._settings.prompts
            self._key = "id" if isinstance(row, dict) and "id" in row else joined.on if joined else ""
            self._first = False
        value = row.get(self._key) if self._key and isinstance(row, dict) else None
        if value is None:
            self._complete, self._matching = False, []
            return str(number - 1)
        if self._complete and _matches(row, self._settings.where):
            self._matching.append(str(value))
        return str(value)

    @property
    def by_key(self) -> bool:
        """Whether every row has a key, and no two matching rows share theirs."""
        return self._complete and len(set(self._matching)) == len(self._matching)


@dataclass(frozen=True)
class Texts:
    """Plain texts of a file."""

    texts: dict[int, str]
    """Row, from 0 -> its text."""
    record: dict[str, Any]
    """As `Reading.record`."""


def read_texts(settings: DatasetSettings, column: str, files: Files | None = None) -> Texts:
    """The first `limit` rows' texts in a column; a row without a text is skipped. `files` as in `write_dataset`.

    Raises HarnessError for a file that cannot be read, or if no row has a text in the column.
    """
    files = files or source_files(settings)
    rows = list(itertools.islice((row for file in files["file"] for row in records(file)), settings.limit))
    values = {i: row.get(column) if isinstance(row, dict) else None for i, row in enumerate(rows)}
    texts = {i: text for i, text in values.items() if isinstance(text, str)}
    if not texts:
        columns = {name for row in rows if isinstance(row, dict) for name in row}
        fix = f"Columns: {printable(', '.join(sorted(columns)))}."
        raise HarnessError(f"no row has a text in '{column}'", where=settings.name, fix=fix)
    reason = f"no text in `{column}`"
    skipped = tuple(Skipped(str(i), i + 1, reason) for i in values if i not in texts)
    counts = {"rows": len(rows), "matched": len(rows), "kept": len(texts)}
    if skipped:
        counts[f"skipped: {reason}"] = len(skipped)
    return Texts(texts, Reading(counts, skipped, ColumnUse({column: len(texts)})).record)


def _matches(row: Any, where: dict[str, Any]) -> bool:
    """Whether a row has the values of `where`; every row matches an empty `where`, even a row that is no object."""
    return not where or (isinstance(row, dict) and all(row.get(column) == value for column, value in where.items()))


def _check_schema(names: Sequence[str], where: str) -> None:
    """HarnessError if no column is known; it lists the file's columns, and hints at a likely response."""
    if names and SCHEMAS.isdisjoint(names):
        likely = response_like(names)
        hint = f"`{likely[0]}` looks like a response. " if likely else ""
        if "text" in names:
            hint = "`text` is whole, without turns: write it as messages (a set of `nll` takes it by `text: text`). "
        raise HarnessError(
            f"no known schema: needs one of {', '.join(sorted(SCHEMAS))}",
            where=where,
            fix=f"{hint}Name the columns with `columns:`. Columns: {printable(', '.join(sorted(names)))}.",
        )
