"""Conversations in the harness's own form: a JSON line each, written and read one after the other."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from harness.core.errors import HarnessError
from harness.core.lines import numbered_lines, parsed_line, write_lines
from harness.data.schemas import Message


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


def write_conversations(path: Path, conversations: Iterable[Conversation]) -> None:
    """Write the canonical form: a line per conversation, {"id", "messages"} and in a mix "domain" and "source"."""

    def record(example: Conversation) -> dict[str, Any]:
        mixed = {} if example.source is None else {"domain": example.domain, "source": example.source}
        return {"id": example.id, "messages": example.messages, **mixed}

    write_lines(path, map(record, conversations))


def read_conversations(path: Path) -> Iterator[Conversation]:
    """Read the canonical form; HarnessError naming a line in another form."""
    return (conversation(record, f"{path}:{number}") for number, record in numbered_lines(path))


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


class ConversationFile:
    """A file in the canonical form whose conversations are read in any order; it holds only their ids in memory."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open("rb")
        self.ids: list[str] = []
        offsets, offset = [], 0
        for line in self._file:
            if line.strip():
                self.ids.append(self._conversation(line, len(self.ids)).id)
                offsets.append(offset)
            offset += len(line)
        self._offsets = np.array(offsets, dtype=np.int64)

    def __getitem__(self, row: int) -> Conversation:
        self._file.seek(int(self._offsets[row]))
        return self._conversation(self._file.readline(), row)

    def _conversation(self, line: bytes, row: int) -> Conversation:
        where = f"{self._path}:{row + 1}"
        return conversation(parsed_line(line, where), where)

    def __enter__(self) -> "ConversationFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()


def line_of(name: str, messages: str) -> str:
    """A line of the canonical form for a line of messages that are JSON already."""
    return f'{{"id": {json.dumps(name, ensure_ascii=False)}, "messages": {messages[:-1]}}}\n'
