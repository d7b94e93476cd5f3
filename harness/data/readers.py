"""Instruction data from files: the usual schemas in, one canonical form out."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from harness.core.errors import HarnessError, printable
from harness.core.lines import numbered_lines, write_lines
from harness.core.seeds import derive_seed
from harness.data.columns import ColumnUse, in_words, response_like
from harness.data.files import read_records
from harness.data.hub import Files, source_files
from harness.data.schemas import ANSWERS, COLUMNS, SCHEMAS, Message, Unusable, read_row, unread
from harness.data.settings import DatasetSettings, JoinedPrompts


@dataclass(frozen=True)
class Conversation:
    """One example. Without an assistant's message it is a prompt, to be answered."""

    id: str
    messages: list[Message]
    """[{role, content}], role one of system, user, assistant; `train: false` on a response that is only read."""
    domain: str | None = None
    """In a mix: the domain it is from; None for a general one."""
    source: str | None = None
    """In a mix: its id in the dataset it is from."""


@dataclass(frozen=True)
class Skipped:
    """A row that is no example."""

    id: str
    row: int
    """Its number in the file, from 1."""
    reason: str


@dataclass(frozen=True)
class Dataset:
    """What was read, and what was not."""

    conversations: list[Conversation]
    counts: dict[str, int]
    """`rows` in the file, `matched` by `where`, `kept`, and `skipped: REASON` for each reason."""
    skipped: tuple[Skipped, ...] = ()
    """Of the matched rows."""
    columns: ColumnUse = field(default_factory=ColumnUse)

    @property
    def record(self) -> dict[str, Any]:
        """The counts, with what `columns.in_words` needs beside them: what a dataset's artifact keeps."""
        first: dict[str, list[int]] = {}
        for one in self.skipped:
            first.setdefault(one.reason, []).append(one.row)
        return self.counts | {
            "skipped_rows": {reason: rows[:_FIRST_ROWS] for reason, rows in first.items()},
            "columns_used": dict(self.columns.used),
            "columns_not_used": dict(self.columns.unused),
            "without_response": sum(all(m["role"] != "assistant" for m in c.messages) for c in self.conversations),
        }


_FIX = "docs/data.md lists the columns, roles and shapes that are read."
_FIRST_ROWS = 5
"""Skipped rows of each reason that are named."""


@dataclass(frozen=True)
class _Record:
    """A row of the file, with its number from 1 and its conversation's id."""

    number: int
    id: str
    row: Any


def read_dataset(settings: DatasetSettings, data_seed: int, files: Files | None = None) -> Dataset:
    """Read, join, filter and draw a dataset. docs/data.md lists the columns that are read.

    `files` are where the settings' `sources` lie; by default they are looked for by what the settings call them.

    A row that is no example is skipped and counted. Without a response column the rows are prompts. Raises
    HarnessError for a file that cannot be read, one without a known column (naming those that are there), and one
    whose every row is skipped (saying why).
    """
    if settings.pocket is not None:
        from harness.data.pocket import conversations

        made = [Conversation(str(c["id"]), c["messages"]) for c in conversations(settings.pocket)]
        return Dataset(*_drawn(made, Counter(rows=len(made), matched=len(made)), settings.limit, data_seed))
    files = files or source_files(settings)
    rows = _rows(files, settings)
    counts = Counter(rows=len(rows))
    names = _row_names(rows, settings)
    records = [_Record(i + 1, name, row) for i, (name, row) in enumerate(zip(names, rows, strict=True))]
    where = settings.name
    if settings.prompts is not None:
        prompts = [row for file in files["prompts"] for row in read_records(file)]
        records = _join(records, settings.prompts, prompts, where, counts)
    records = _matching(records, settings.where, where)
    counts["matched"] = len(records)
    records = _renamed(records, settings.columns, where)
    kept, skipped, columns = _conversations(records, settings, where)
    counts.update(f"skipped: {one.reason}" for one in skipped)
    return Dataset(*_drawn(kept, counts, settings.limit, data_seed), skipped, columns)


def _rows(files: Files, settings: DatasetSettings) -> list[Any]:
    if "file" not in files:
        raise HarnessError("a dataset needs a `path`, `hf` or `pocket`", where=settings.name)
    return [row for file in files["file"] for row in read_records(file)]


@dataclass(frozen=True)
class Texts:
    """Plain texts of a file."""

    texts: dict[int, str]
    """Row, from 0 -> its text."""
    record: dict[str, Any]
    """What was read: as `Dataset.record`."""


def read_texts(settings: DatasetSettings, column: str, files: Files | None = None) -> Texts:
    """The first `limit` rows' texts in a column; a row without one is skipped and counted. `files` as `read_dataset`.

    Raises HarnessError for a file that cannot be read, and where no row has a text in the column.
    """
    rows = _rows(files or source_files(settings), settings)[: settings.limit]
    found = {i: row.get(column) if isinstance(row, dict) else None for i, row in enumerate(rows)}
    texts = {i: text for i, text in found.items() if isinstance(text, str)}
    if not texts:
        fix = f"Columns: {printable(', '.join(sorted(_columns(rows))))}."
        raise HarnessError(f"no row has a text in '{column}'", where=settings.name, fix=fix)
    reason = f"no text in `{column}`"
    skipped = tuple(Skipped(str(i), i + 1, reason) for i in found if i not in texts)
    counts = {"rows": len(rows), "matched": len(rows), "kept": len(texts)}
    if skipped:
        counts[f"skipped: {reason}"] = len(skipped)
    return Texts(texts, Dataset([], counts, skipped, ColumnUse({column: len(texts)})).record)


def write_conversations(path: Path, conversations: Iterable[Conversation]) -> None:
    """Write the canonical form: one {"id", "messages"} a line, in a mix with "domain" (or null) and "source"."""

    def record(one: Conversation) -> dict[str, Any]:
        mixed = {} if one.source is None else {"domain": one.domain, "source": one.source}
        return {"id": one.id, "messages": one.messages, **mixed}

    write_lines(path, map(record, conversations))


def read_conversations(path: Path) -> list[Conversation]:
    """Read the canonical form; HarnessError naming the line that is something else."""
    return [conversation(record, f"{path}:{number}") for number, record in numbered_lines(path)]


def conversation(record: Any, where: str) -> Conversation:
    """A line of the canonical form; HarnessError naming `where` for anything else."""
    match record:
        case {"id": name, "messages": [*messages]} if all(map(_is_message, messages)):
            return Conversation(str(name), messages, record.get("domain"), record.get("source"))
    raise HarnessError(
        "not a conversation in the harness's own form",
        where=where,
        fix='It is {"id", "messages": [{"role", "content"}]}, role one of system, user, assistant. Files in other '
        "schemas are named as a dataset in a recipe.",
    )


def _is_message(turn: Any) -> bool:
    match turn:
        case {"role": "system" | "user" | "assistant", "content": str()}:
            return isinstance(turn.get("train", True), bool)
    return False


def _drawn(
    kept: list[Conversation], counts: Counter[str], limit: int | None, data_seed: int
) -> tuple[list[Conversation], dict[str, int]]:
    """The rows that are used, and the counts with them."""
    if limit is not None and limit < len(kept):
        chosen = Random(derive_seed(data_seed, "limit")).sample(range(len(kept)), limit)
        kept = [kept[i] for i in sorted(chosen)]
    counts["kept"] = len(kept)
    return kept, dict(counts)


def _row_names(rows: list[Any], settings: DatasetSettings) -> list[str]:
    """Each row's `id` (or join key), or its number where these are missing or not unique among the rows that match."""
    key = "id" if "id" in _columns(rows[:1]) else settings.prompts.on if settings.prompts else None
    numbers = [str(i) for i in range(len(rows))]
    if key is None or any(not isinstance(row, dict) or row.get(key) is None for row in rows):
        return numbers
    matching = [str(row[key]) for row in rows if _matches(row, settings.where)]
    return [str(row[key]) for row in rows] if len(set(matching)) == len(matching) else numbers


def _matches(row: Any, where: dict[str, Any]) -> bool:
    """A row that is no object has no columns to match; without `where` it goes on, to be counted."""
    return not where or (isinstance(row, dict) and all(row.get(column) == value for column, value in where.items()))


def _columns(rows: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row))


def _demand(wanted: Iterable[str], rows: Iterable[Any], where: str, what: str) -> None:
    there = _columns(rows)
    if absent := [name for name in wanted if name not in there]:
        fix = f"Columns: {printable(', '.join(there))}."
        raise HarnessError(f"{what}: no column {', '.join(absent)}", where=where, fix=fix)


def _join(
    records: list[_Record], joined: JoinedPrompts, rows: Sequence[Any], where: str, counts: Counter[str]
) -> list[_Record]:
    """Each row with the columns of its prompt; a row whose key is no text or number, or is no prompt's, is counted."""
    prompts = [prompt for prompt in rows if isinstance(prompt, dict)]
    _demand([joined.on], (record.row for record in records), where, "cannot join prompts")
    _demand([joined.on], prompts, joined.name, "cannot join prompts")
    keyed = [prompt for prompt in prompts if isinstance(prompt.get(joined.on), str | int | float)]
    by_key = {prompt[joined.on]: prompt for prompt in keyed}
    if len(by_key) < len(keyed):
        raise HarnessError(f"values of {joined.on!r} occur more than once", where=joined.name)
    found = []
    for record in records:
        key = record.row.get(joined.on) if isinstance(record.row, dict) else None
        if isinstance(key, str | int | float) and key in by_key:
            found.append(_Record(record.number, record.id, by_key[key] | record.row))
    if not found:
        raise HarnessError(f"no row has a prompt of the same {joined.on!r} in {joined.name}", where=where)
    if len(found) < len(records):
        counts["skipped: no prompt to join"] = len(records) - len(found)
    return found


def _matching(records: list[_Record], where: dict[str, Any], path: str) -> list[_Record]:
    rows = [record.row for record in records]
    _demand(where, rows, path, "cannot filter by `where`")
    found = [record for record in records if _matches(record.row, where)]
    if not found:
        objects = [row for row in rows if isinstance(row, dict)]
        values = {column: sorted({str(row.get(column)) for row in objects})[:10] for column in where}
        shown = "; ".join(f"{column}: {', '.join(seen)}" for column, seen in values.items())
        raise HarnessError(f"no row has {where}", where=path, fix=f"Values there (the first ten): {printable(shown)}.")
    return found


def _renamed(records: list[_Record], columns: dict[str, str], where: str) -> list[_Record]:
    """The rows with the columns that `columns` names under their usual names."""
    _demand(columns.values(), (record.row for record in records), where, "`columns`")
    if strange := sorted(set(columns) - COLUMNS):
        fix = f"Known: {', '.join(sorted(COLUMNS))}."
        raise HarnessError(f"`columns` names no usual column: {', '.join(strange)}", where=where, fix=fix)
    return [_Record(r.number, r.id, _usual(r.row, columns)) for r in records] if columns else records


def _usual(row: Any, columns: dict[str, str]) -> Any:
    if not isinstance(row, dict):
        return row
    others = {name: value for name, value in row.items() if name not in columns.values()}
    return others | {usual: row.get(actual) for usual, actual in columns.items()}


def _conversations(
    records: list[_Record], settings: DatasetSettings, where: str
) -> tuple[list[Conversation], tuple[Skipped, ...], ColumnUse]:
    """The rows that are examples, those that are none, and which columns were used."""
    there = _columns(record.row for record in records[:1000])
    _check_schema(there, where)
    named, answered = frozenset(settings.columns), not set(ANSWERS).isdisjoint(there)
    known = {"id", *settings.where, *([settings.prompts.on] if settings.prompts else [])}
    kept: list[Conversation] = []
    skipped: list[Skipped] = []
    used, unused = Counter[str](), Counter[str]()
    for record in records:
        try:
            example = read_row(record.row, named, answered)
        except Unusable as fault:
            skipped.append(Skipped(record.id, record.number, str(fault)))
            continue
        kept.append(Conversation(record.id, example.messages))
        used.update(settings.columns.get(name, name) for name in example.used)
        unused.update(name for name in unread(record.row, example) if name not in known)
    columns = ColumnUse(dict(sorted(used.items())), dict(sorted(unused.items())))
    if not kept:
        told = Dataset([], {"rows": len(records)}, tuple(skipped)).record
        told |= Counter(f"skipped: {one.reason}" for one in skipped)
        raise HarnessError(f"no row can be used: {in_words(told)[0]}", where=where, fix=_FIX)
    return kept, tuple(skipped), columns


def _check_schema(there: Sequence[str], where: str) -> None:
    """HarnessError where no column is known, naming those that the file has and one that might be meant."""
    if there and SCHEMAS.isdisjoint(there):
        likely = response_like(there)
        hint = f"`{likely[0]}` looks like a response. " if likely else ""
        if "text" in there:
            hint = "`text` is whole, without turns: write it as messages (a set of `nll` takes it by `text: text`). "
        raise HarnessError(
            f"no known schema: needs one of {', '.join(sorted(SCHEMAS))}",
            where=where,
            fix=f"{hint}Name the columns with `columns:`. Columns: {printable(', '.join(sorted(there)))}.",
        )
