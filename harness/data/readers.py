"""Instruction data from files: from the usual schemas to a canonical form."""

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
    """An example. Without an assistant's message it is a prompt, to be answered."""

    id: str
    messages: list[Message]
    """[{role, content}], role system, user or assistant; `train: false` on a response that is only read."""
    domain: str | None = None
    """In a mix: its domain; None for a general conversation."""
    source: str | None = None
    """In a mix: its id in the dataset that it comes from."""


@dataclass(frozen=True)
class Skipped:
    """A row that is no example."""

    id: str
    row: int
    """Its number in the file, from 1."""
    reason: str


@dataclass(frozen=True)
class Dataset:
    """The conversations of a file, the counts of its rows, and the rows that are none."""

    conversations: list[Conversation]
    counts: dict[str, int]
    """`rows` in the file, `matched` by `where`, `kept`, and `skipped: REASON` for each reason."""
    skipped: tuple[Skipped, ...] = ()
    """The matched rows that are no examples."""
    columns: ColumnUse = field(default_factory=ColumnUse)

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
            "without_response": sum(all(m["role"] != "assistant" for m in c.messages) for c in self.conversations),
        }


_FIX = "docs/data.md lists the columns, roles and shapes that are read."
_FIRST_ROWS = 5
"""How many skipped rows of each reason are listed."""


@dataclass(frozen=True)
class _Record:
    """A row of the file, with its number from 1 and its conversation's id."""

    number: int
    id: str
    row: Any


def read_dataset(settings: DatasetSettings, data_seed: int, files: Files | None = None) -> Dataset:
    """Read, join, filter and draw a dataset. docs/data.md lists the columns that are read.

    `files` are where the settings' `sources` lie; by default they are looked up by their names in the settings.

    A row that is no example is skipped and counted. Without a response column the rows are prompts. Raises HarnessError
    for a file that cannot be read, has no known column (it names the columns), or has no usable row (it says why).
    """
    if settings.pocket is not None:
        from harness.data.pocket import conversations

        examples = [Conversation(str(c["id"]), c["messages"]) for c in conversations(settings.pocket)]
        return Dataset(*_drawn(examples, Counter(rows=len(examples), matched=len(examples)), settings.limit, data_seed))
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
    examples, skipped, columns = _conversations(records, settings, where)
    counts.update(f"skipped: {skip.reason}" for skip in skipped)
    return Dataset(*_drawn(examples, counts, settings.limit, data_seed), skipped, columns)


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
    """As `Dataset.record`."""


def read_texts(settings: DatasetSettings, column: str, files: Files | None = None) -> Texts:
    """The first `limit` rows' texts in a column; a row without a text is skipped. `files` as in `read_dataset`.

    Raises HarnessError for a file that cannot be read, or if no row has a text in the column.
    """
    rows = _rows(files or source_files(settings), settings)[: settings.limit]
    values = {i: row.get(column) if isinstance(row, dict) else None for i, row in enumerate(rows)}
    texts = {i: text for i, text in values.items() if isinstance(text, str)}
    if not texts:
        fix = f"Columns: {printable(', '.join(sorted(_columns(rows))))}."
        raise HarnessError(f"no row has a text in '{column}'", where=settings.name, fix=fix)
    reason = f"no text in `{column}`"
    skipped = tuple(Skipped(str(i), i + 1, reason) for i in values if i not in texts)
    counts = {"rows": len(rows), "matched": len(rows), "kept": len(texts)}
    if skipped:
        counts[f"skipped: {reason}"] = len(skipped)
    return Texts(texts, Dataset([], counts, skipped, ColumnUse({column: len(texts)})).record)


def write_conversations(path: Path, conversations: Iterable[Conversation]) -> None:
    """Write the canonical form: a line per conversation, {"id", "messages"} and in a mix "domain" and "source"."""

    def record(example: Conversation) -> dict[str, Any]:
        mixed = {} if example.source is None else {"domain": example.domain, "source": example.source}
        return {"id": example.id, "messages": example.messages, **mixed}

    write_lines(path, map(record, conversations))


def read_conversations(path: Path) -> list[Conversation]:
    """Read the canonical form; HarnessError naming a line in another form."""
    return [conversation(record, f"{path}:{number}") for number, record in numbered_lines(path)]


def conversation(record: Any, where: str) -> Conversation:
    """A line of the canonical form; HarnessError naming `where` for any other form."""
    match record:
        case {"id": name, "messages": [*messages]} if all(map(_is_message, messages)):
            return Conversation(str(name), messages, record.get("domain"), record.get("source"))
    raise HarnessError(
        "not a conversation in the harness's own form",
        where=where,
        fix='Write {"id", "messages": [{"role", "content"}]} with roles system, user and assistant, or name a file in '
        "another schema as a dataset in a recipe.",
    )


def _is_message(turn: Any) -> bool:
    match turn:
        case {"role": "system" | "user" | "assistant", "content": str()}:
            return isinstance(turn.get("train", True), bool)
    return False


def _drawn(
    conversations: list[Conversation], counts: Counter[str], limit: int | None, data_seed: int
) -> tuple[list[Conversation], dict[str, int]]:
    """The conversations that are used, at most `limit`, and the counts with their number."""
    if limit is not None and limit < len(conversations):
        chosen = Random(derive_seed(data_seed, "limit")).sample(range(len(conversations)), limit)
        conversations = [conversations[i] for i in sorted(chosen)]
    counts["kept"] = len(conversations)
    return conversations, dict(counts)


def _row_names(rows: list[Any], settings: DatasetSettings) -> list[str]:
    """Each row's `id` (or join key); the row numbers if any is missing or two matching rows share theirs."""
    key = "id" if "id" in _columns(rows[:1]) else settings.prompts.on if settings.prompts else None
    numbers = [str(i) for i in range(len(rows))]
    if key is None or any(not isinstance(row, dict) or row.get(key) is None for row in rows):
        return numbers
    matching = [str(row[key]) for row in rows if _matches(row, settings.where)]
    return [str(row[key]) for row in rows] if len(set(matching)) == len(matching) else numbers


def _matches(row: Any, where: dict[str, Any]) -> bool:
    """Whether a row has the values of `where`; every row matches an empty `where`, even a row that is no object."""
    return not where or (isinstance(row, dict) and all(row.get(column) == value for column, value in where.items()))


def _columns(rows: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row))


def _demand(names: Iterable[str], rows: Iterable[Any], where: str, what: str) -> None:
    columns = _columns(rows)
    if absent := [name for name in names if name not in columns]:
        fix = f"Columns: {printable(', '.join(columns))}."
        raise HarnessError(f"{what}: no column {', '.join(absent)}", where=where, fix=fix)


def _join(
    records: list[_Record], joined: JoinedPrompts, rows: Sequence[Any], where: str, counts: Counter[str]
) -> list[_Record]:
    """Each row with the columns of its prompt; a row without a prompt of its key is skipped and counted."""
    prompts = [prompt for prompt in rows if isinstance(prompt, dict)]
    _demand([joined.on], (record.row for record in records), where, "cannot join prompts")
    _demand([joined.on], prompts, joined.name, "cannot join prompts")
    keyed = [prompt for prompt in prompts if isinstance(prompt.get(joined.on), str | int | float)]
    by_key = {prompt[joined.on]: prompt for prompt in keyed}
    if len(by_key) < len(keyed):
        raise HarnessError(f"values of {joined.on!r} occur more than once", where=joined.name)
    joined_records = []
    for record in records:
        key = record.row.get(joined.on) if isinstance(record.row, dict) else None
        if isinstance(key, str | int | float) and key in by_key:
            joined_records.append(_Record(record.number, record.id, by_key[key] | record.row))
    if not joined_records:
        raise HarnessError(f"no row has a prompt of the same {joined.on!r} in {joined.name}", where=where)
    if len(joined_records) < len(records):
        counts["skipped: no prompt to join"] = len(records) - len(joined_records)
    return joined_records


def _matching(records: list[_Record], where: dict[str, Any], path: str) -> list[_Record]:
    rows = [record.row for record in records]
    _demand(where, rows, path, "cannot filter by `where`")
    matching = [record for record in records if _matches(record.row, where)]
    if not matching:
        objects = [row for row in rows if isinstance(row, dict)]
        values = {column: sorted({str(row.get(column)) for row in objects})[:10] for column in where}
        shown = "; ".join(f"{column}: {', '.join(seen)}" for column, seen in values.items())
        raise HarnessError(f"no row has {where}", where=path, fix=f"Values there (the first ten): {printable(shown)}.")
    return matching


def _renamed(records: list[_Record], columns: dict[str, str], where: str) -> list[_Record]:
    """The rows with their columns renamed to the usual names that `columns` maps to them."""
    _demand(columns.values(), (record.row for record in records), where, "`columns`")
    if unknown := sorted(set(columns) - COLUMNS):
        fix = f"Known: {', '.join(sorted(COLUMNS))}."
        raise HarnessError(f"`columns` names no usual column: {', '.join(unknown)}", where=where, fix=fix)
    return [_Record(r.number, r.id, _usual(r.row, columns)) for r in records] if columns else records


def _usual(row: Any, columns: dict[str, str]) -> Any:
    if not isinstance(row, dict):
        return row
    others = {name: value for name, value in row.items() if name not in columns.values()}
    return others | {usual: row.get(actual) for usual, actual in columns.items()}


def _conversations(
    records: list[_Record], settings: DatasetSettings, where: str
) -> tuple[list[Conversation], tuple[Skipped, ...], ColumnUse]:
    """The conversations, the skipped rows, and which columns were used."""
    names = _columns(record.row for record in records[:1000])
    _check_schema(names, where)
    named, answered = frozenset(settings.columns), not set(ANSWERS).isdisjoint(names)
    known = {"id", *settings.where, *([settings.prompts.on] if settings.prompts else [])}
    conversations: list[Conversation] = []
    skipped: list[Skipped] = []
    used, unused = Counter[str](), Counter[str]()
    for record in records:
        try:
            example = read_row(record.row, named, answered)
        except Unusable as fault:
            skipped.append(Skipped(record.id, record.number, str(fault)))
            continue
        conversations.append(Conversation(record.id, example.messages))
        used.update(settings.columns.get(name, name) for name in example.used)
        unused.update(name for name in unread(record.row, example) if name not in known)
    columns = ColumnUse(dict(sorted(used.items())), dict(sorted(unused.items())))
    if not conversations:
        summary = Dataset([], {"rows": len(records)}, tuple(skipped)).record
        summary |= Counter(f"skipped: {skip.reason}" for skip in skipped)
        raise HarnessError(f"no row can be used: {in_words(summary)[0]}", where=where, fix=_FIX)
    return conversations, tuple(skipped), columns


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
