"""Instruction data from files: the usual schemas in, one canonical form out."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from harness.core.errors import HarnessError, printable
from harness.core.lines import numbered_lines, write_lines
from harness.core.seeds import derive_seed
from harness.data.files import Row, read_rows
from harness.data.settings import DatasetSettings, JoinedPrompts

Message = dict[str, str]

_NAME = "\0name"
"""The key under which a row carries its conversation's id; no column is called so."""
_TURNS = ("messages", "conversations")
"""Columns that hold a list of turns."""
_PAIRS = (("instruction", "output"), ("prompt", "response"))
"""Columns of question and answer in the schemas of one turn."""
_SCHEMAS = {*_TURNS, *(asked for asked, _ in _PAIRS)}
_TOOL = "tool"
"""The role of what a program said or was asked: such a conversation is no example here."""
_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "system": "system",
    **dict.fromkeys(("tool", "function", "function_call", "observation", "ipython"), _TOOL),
}


@dataclass(frozen=True)
class Conversation:
    """One example. Without an assistant's message it is a prompt, to be answered."""

    id: str
    messages: list[Message]
    """[{role, content}], role one of system, user, assistant."""
    domain: str | None = None
    """In a mix: the domain it is from; None for a general one."""
    source: str | None = None
    """In a mix: its id in the dataset it is from."""


@dataclass(frozen=True)
class Dataset:
    """What was read, and how many rows were not."""

    conversations: list[Conversation]
    counts: dict[str, int]
    """`rows` in the file, `matched` by `where`, `kept`, and `skipped: REASON` for each reason."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Id -> reason, of the matched rows that are no examples."""


def read_dataset(settings: DatasetSettings, data_seed: int) -> Dataset:
    """Read, join, filter and draw a dataset.

    Schemas: `messages`, `conversations` (ShareGPT), `instruction` [+ `input`] + `output`, `prompt` + `response`; the
    rows of one file may differ. Rows without a user message, with an empty response or with messages of tools are
    skipped and counted. Without a response column the rows are prompts. Raises HarnessError for what cannot be read,
    naming the columns that are there.
    """
    if settings.pocket is not None:
        from harness.data.pocket import conversations

        made = [Conversation(str(c["id"]), c["messages"]) for c in conversations(settings.pocket)]
        return _drawn(made, Counter(rows=len(made), matched=len(made)), settings.limit, data_seed)
    if settings.path is None:
        raise HarnessError("a dataset needs a `path` or `pocket`")
    rows = read_rows(settings.path)
    counts = Counter(rows=len(rows))
    names = _row_names(rows, settings)
    rows = [{**row, _NAME: name} for name, row in zip(names, rows, strict=True)]
    if settings.prompts is not None:
        rows = _join(rows, settings.prompts, str(settings.path), counts)
    rows = _matching(rows, settings.where, str(settings.path))
    counts["matched"] = len(rows)
    rows = _renamed(rows, settings.columns, str(settings.path))
    skipped: dict[str, str] = {}
    kept = list(_conversations(rows, str(settings.path), skipped))
    counts.update(f"skipped: {reason}" for reason in skipped.values())
    return replace(_drawn(kept, counts, settings.limit, data_seed), skipped=skipped)


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
            return True
    return False


def _drawn(kept: list[Conversation], counts: Counter[str], limit: int | None, data_seed: int) -> Dataset:
    if limit is not None and limit < len(kept):
        chosen = Random(derive_seed(data_seed, "limit")).sample(range(len(kept)), limit)
        kept = [kept[i] for i in sorted(chosen)]
    counts["kept"] = len(kept)
    return Dataset(kept, dict(counts))


def _row_names(rows: list[Row], settings: DatasetSettings) -> list[str]:
    """Each row's `id` (or join key), or its number where these are missing or not unique among the rows that match."""
    key = "id" if "id" in rows[0] else settings.prompts.on if settings.prompts else None
    numbers = [str(i) for i in range(len(rows))]
    if key is None or any(row.get(key) is None for row in rows):
        return numbers
    matching = [str(row[key]) for row in rows if _matches(row, settings.where)]
    return [str(row[key]) for row in rows] if len(set(matching)) == len(matching) else numbers


def _matches(row: Row, where: dict[str, Any]) -> bool:
    return all(row.get(column) == value for column, value in where.items())


def _columns(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows[:1000] for name in row if name != _NAME))


def _demand(wanted: Iterable[str], rows: list[Row], where: str, what: str) -> None:
    there = _columns(rows)
    if absent := [name for name in wanted if name not in there]:
        fix = f"Columns: {printable(', '.join(there))}."
        raise HarnessError(f"{what}: no column {', '.join(absent)}", where=where, fix=fix)


def _join(rows: list[Row], joined: JoinedPrompts, where: str, counts: Counter[str]) -> list[Row]:
    prompts = read_rows(joined.path)
    _demand([joined.on], rows, where, "cannot join prompts")
    _demand([joined.on], prompts, str(joined.path), "cannot join prompts")
    for record, place in ((rows, where), (prompts, str(joined.path))):
        for number, row in enumerate(record, 1):
            if not isinstance(row.get(joined.on), str | int | float):
                raise HarnessError(f"{joined.on!r} is to be a text or a number", where=f"{place}, row {number}")
    by_key = {prompt[joined.on]: prompt for prompt in prompts}
    if len(by_key) < len(prompts):
        raise HarnessError(f"values of {joined.on!r} occur more than once", where=str(joined.path))
    found = [by_key[row[joined.on]] | row for row in rows if row[joined.on] in by_key]
    if len(found) < len(rows):
        counts["skipped: no prompt to join"] = len(rows) - len(found)
    return found


def _matching(rows: list[Row], where: dict[str, Any], path: str) -> list[Row]:
    _demand(where, rows, path, "cannot filter by `where`")
    found = [row for row in rows if _matches(row, where)]
    if not found:
        values = {column: sorted({str(row.get(column)) for row in rows})[:10] for column in where}
        shown = "; ".join(f"{column}: {', '.join(seen)}" for column, seen in values.items())
        raise HarnessError(f"no row has {where}", where=path, fix=f"Values there (the first ten): {printable(shown)}.")
    return found


def _renamed(rows: list[Row], columns: dict[str, str], where: str) -> list[Row]:
    _demand(columns.values(), rows, where, "`columns`")
    usual = {"messages", "conversations", "instruction", "input", "output", "prompt", "response", "system"}
    if strange := sorted(set(columns) - usual):
        fix = f"Known: {', '.join(sorted(usual))}."
        raise HarnessError(f"`columns` names no usual column: {', '.join(strange)}", where=where, fix=fix)
    return [{**row, **{usual: row.get(actual) for usual, actual in columns.items()}} for row in rows]


def _conversations(rows: list[Row], where: str, skipped: dict[str, str]) -> Iterator[Conversation]:
    there = set(_columns(rows))
    if not there & _SCHEMAS:
        raise HarnessError(
            "no known schema: needs messages, conversations, instruction or prompt",
            where=where,
            fix=f"Name the columns with `columns:`. Columns: {printable(', '.join(sorted(there)))}.",
        )
    for row in rows:
        messages = _messages(row, there, f"{where}, row {row[_NAME]}")
        if reason := _unusable(messages):
            skipped[row[_NAME]] = reason
        else:
            yield Conversation(row[_NAME], messages)


def _messages(row: Row, there: set[str], where: str) -> list[Message]:
    """By the first schema that the row has a value for: rows of one file may differ."""
    for name in _TURNS:
        turns = row.get(name)
        if isinstance(turns, list):
            return [_message(turn, where) for turn in turns]
        if turns is not None:
            raise HarnessError(f"`{name}` is to be a list of turns, found {type(turns).__name__}", where=where)
    asked, answered = next((pair for pair in _PAIRS if row.get(pair[0]) is not None), ("", ""))
    question = _text(row.get(asked), where)
    if extra := _text(row.get("input"), where).strip():
        question = f"{question}\n\n{extra}"
    messages = [{"role": "user", "content": question}]
    if system := _text(row.get("system"), where):
        messages.insert(0, {"role": "system", "content": system})
    if answered in there or row.get(answered) is not None:
        messages.append({"role": "assistant", "content": _text(row.get(answered), where)})
    return messages


def _message(turn: Any, where: str) -> Message:
    if not isinstance(turn, dict):
        raise HarnessError("a turn must be an object", where=where)
    role = turn.get("role", turn.get("from"))
    if not isinstance(role, str) or role not in _ROLES:
        raise HarnessError(f"unknown role {str(role)[:60]!r}", where=where, fix=f"Known: {', '.join(_ROLES)}.")
    return {"role": _ROLES[role], "content": _text(turn.get("content", turn.get("value")), where)}


def _text(value: Any, where: str) -> str:
    if value is not None and not isinstance(value, str):
        raise HarnessError(f"expected text, found {type(value).__name__}", where=where)
    return value or ""


def _unusable(messages: list[Message]) -> str | None:
    if any(m["role"] == _TOOL for m in messages):
        return "tool message"
    if not any(m["role"] == "user" and m["content"].strip() for m in messages):
        return "no user message"
    if any(m["role"] == "assistant" and not m["content"].strip() for m in messages):
        return "empty response"
    return None
