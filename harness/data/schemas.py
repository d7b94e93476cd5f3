"""From a row of a public data set to the turns of a conversation: which columns it uses, or why it is no example."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from harness.core.lines import parse_json
from harness.data.files import Row

Message = dict[str, Any]
"""{role, content}, and `train: false` on a response that is read and not learned."""

TURNS = ("messages", "conversations", "conversation")
"""Columns that hold a list of turns."""
QUESTIONS = ("instruction", "prompt", "query", "question")
"""Columns of the question: a text, or turns."""
ANSWERS = ("output", "response", "completion", "answer")
"""Columns of the response: a text, or turns."""
_ADDED = ("input", "context")
"""Columns of texts that follow the question, each after a blank line."""
_SYSTEM = ("system", "system_prompt")
_HISTORY = "history"
COLUMNS = frozenset({*TURNS, *QUESTIONS, *ANSWERS, *_ADDED, *_SYSTEM, _HISTORY})
"""The columns that are read."""
SCHEMAS = frozenset({*TURNS, *QUESTIONS})
"""A file has one of these."""

_TOOL = "tool"
"""The role of a program's messages: a conversation with such a message is no example."""
_ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "chatgpt", "bing", "bard", "claude", "gemini", "bot"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "function_call", "observation", "ipython"), _TOOL),
}
_ROLE, _CONTENT = ("role", "from"), ("content", "value")
_LEARNED, _MASKED = ("weight", "train", "loss"), ("mask", "masked")
"""Keys of an assistant's turn: false or 0 in `_LEARNED`, true or 1 in `_MASKED` marks a turn that is read only."""
_READ = frozenset({*_ROLE, *_CONTENT, *_LEARNED, *_MASKED})
_TEXT_PARTS = ("text", "input_text", "output_text")


class Unusable(Exception):
    """The row is no example; the text says why."""


@dataclass(frozen=True)
class Example:
    """A row that was read."""

    messages: list[Message]
    used: frozenset[str]
    """The columns that the messages are made of."""


def read_row(row: Any, named: frozenset[str] = frozenset(), answered: bool = False) -> Example:
    """The conversation of a row, by the first schema that the row has a value for.

    Columns in `named` precede the others. If the file has a response column (`answered`), a row without a value in it
    has an empty response, else it is a prompt. Raises Unusable for a row that is no example.
    """
    if not isinstance(row, dict):
        raise Unusable(f"{_kind(row)}, not an object with named columns")
    as_pair = bool(named & {*QUESTIONS, *ANSWERS}) and not named & {*TURNS}
    column = "" if as_pair else _first(row, TURNS, named)
    example = Example(_turns(row[column], column), frozenset({column})) if column else _pair(row, named, answered)
    example = _with_system(row, example, named)
    if reason := _fault(example.messages):
        raise Unusable(reason)
    return example


def unread(row: Row, example: Example) -> Iterator[str]:
    """The columns with values that are not in the conversation, and such keys of turns as `messages[].name`."""
    others = [name for name, value in row.items() if name not in example.used and filled(value)]
    texts = {m["content"].strip() for m in example.messages} if others else set()
    turns = {name: _listed(row[name]) for name in sorted(example.used) if name in TURNS or isinstance(row[name], list)}
    for name in others:
        value = row[name]
        if not (value.strip() in texts if isinstance(value, str) else value in turns.values()):
            yield name
    for name, listed in turns.items():
        objects = [turn for turn in listed if isinstance(turn, dict)]
        keys = {key for turn in objects for key, value in turn.items() if key not in _READ and filled(value)}
        yield from (f"{name}[].{key}" for key in sorted(keys))


def filled(value: Any) -> bool:
    """Whether a value is more than null, white space, or an empty list or object."""
    return bool(value.strip()) if isinstance(value, str) else value is not None and value not in ([], {})


def _first(row: Row, names: Sequence[str], named: frozenset[str]) -> str:
    """The first filled column, those in `named` before the others; empty if none is filled."""
    ordered = sorted(names, key=lambda name: name not in named) if named else names
    return next((name for name in ordered if name in row and filled(row[name])), "")


def _pair(row: Row, named: frozenset[str], answered: bool) -> Example:
    question, answer = _first(row, QUESTIONS, named), _first(row, ANSWERS, named)
    if not question:
        raise Unusable("no user message")
    messages, used = _question(row, question)
    if answer:
        # The assistant's turns within a prompt are context, and not learned.
        messages = [{**m, "train": False} if m["role"] == "assistant" else m for m in messages]
    if filled(row.get(_HISTORY)):
        messages = [*_history(row[_HISTORY]), *messages]
        used |= {_HISTORY}
    if answer:
        messages += _messages(row[answer], answer, "assistant")
        used |= {answer}
    elif answered:
        messages.append({"role": "assistant", "content": ""})
    return Example(messages, used)


def _question(row: Row, column: str) -> tuple[list[Message], frozenset[str]]:
    """The question, followed by the texts that belong to it."""
    messages, used = _messages(row[column], column, "user"), [column]
    if isinstance(row[column], str):
        for name in _ADDED:
            if filled(row.get(name)):
                messages[0]["content"] += "\n\n" + _text(row[name], f"`{name}`").strip()
                used.append(name)
    return messages, frozenset(used)


def _messages(value: Any, column: str, role: str) -> list[Message]:
    """A text as a turn of the role, or a list of turns as it is."""
    if isinstance(value, list) and all(isinstance(turn, dict) for turn in value):
        return _turns(value, column)
    return [{"role": role, "content": _text(value, f"`{column}`")}]


def _history(value: Any) -> list[Message]:
    """Pairs of question and answer, or turns."""
    if isinstance(value, list) and all(isinstance(turn, dict) for turn in value):
        return _turns(value, _HISTORY)
    if not (isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value)):
        raise Unusable("`history` is not a list of pairs of question and answer")
    both = zip(("user", "assistant"), ("a question", "an answer"), strict=True)
    names = [(role, f"{what} of `history`") for role, what in both]
    return [
        {"role": role, "content": _text(text, what)}
        for pair in value
        for (role, what), text in zip(names, pair, strict=True)
    ]


def _with_system(row: Row, example: Example, named: frozenset[str]) -> Example:
    """Put the system prompt's column first, unless the turns begin with a system prompt already."""
    column = _first(row, _SYSTEM, named)
    if not column or (example.messages and example.messages[0]["role"] == "system"):
        return example
    system = {"role": "system", "content": _text(row[column], f"`{column}`")}
    return Example([system, *example.messages], example.used | {column})


def _turns(value: Any, column: str) -> list[Message]:
    """The turns of a list of objects, of a JSON text of such a list, or of texts of user and assistant in turn."""
    value = _listed(value)
    if not isinstance(value, list):
        raise Unusable(f"`{column}` is {_kind(value)}, not a list of turns")
    if all(isinstance(turn, str) for turn in value):
        return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(value)]
    return [_turn(turn) for turn in value]


def _listed(value: Any) -> Any:
    """The list that a JSON text holds; any other value unchanged."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError):
            return parse_json(value)
    return value


def _turn(turn: Any) -> Message:
    if not isinstance(turn, dict):
        raise Unusable(f"a turn is {_kind(turn)}, not an object")
    name = next((turn[key] for key in _ROLE if turn.get(key) is not None), None)
    role = _ROLES.get(name.strip().lower()) if isinstance(name, str) else None
    if role is None:
        raise Unusable("a turn without a role" if name is None else f"unknown role {str(name)[:40]!r}")
    if role == _TOOL:
        raise Unusable("tool message")
    if not turn.keys() & set(_CONTENT):
        raise Unusable("a turn without content")
    text = _content(next((turn[key] for key in _CONTENT if turn.get(key) is not None), ""))
    masked = role == "assistant" and _is_masked(turn)
    return {"role": role, "content": text} | ({"train": False} if masked else {})


def _content(value: Any) -> str:
    """A text, or the parts of a text joined without a separator."""
    parts = value if isinstance(value, list) else [value]
    return "".join(_part(part) for part in parts)


def _part(part: Any) -> str:
    if isinstance(part, dict):
        if part.get("type") not in _TEXT_PARTS:
            raise Unusable(f"a turn with a part of type {str(part.get('type'))[:40]!r}")
        part = part.get("text")
    return _text(part, "the content of a turn")


def _is_masked(turn: Row) -> bool:
    for keys, learned in ((_LEARNED, True), (_MASKED, False)):
        for key in keys:
            value = turn.get(key)
            if value is None:
                continue
            if not isinstance(value, bool | int | float) or value not in (0, 1):
                raise Unusable(f"a turn's `{key}` is {json.dumps(value, default=str)[:40]}, neither 0 nor 1")
            if bool(value) is not learned:
                return True
    return False


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise Unusable(f"{what} is {_kind(value)}, not text")
    return value


def _kind(value: Any) -> str:
    """A value's type, in the words of JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    kinds = ((str, "text"), (int | float, "a number"), (list, "a list"), (dict, "an object"))
    return next((name for kind, name in kinds if isinstance(value, kind)), f"a value of type {type(value).__name__}")


def _fault(messages: list[Message]) -> str | None:
    if not any(m["role"] == "user" and m["content"].strip() for m in messages):
        return "no user message"
    responses = [m for m in messages if m["role"] == "assistant"]
    if not all(m["content"].strip() for m in responses):
        return "empty response"
    if responses and not any(m.get("train", True) for m in responses):
        return "every response has weight 0"
    return None
