"""A chat completion read: a text that may hold a verdict, or the reason why there is no text.

Servers differ in more than their documentation says, so every field may have any shape.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from openai.types.chat import ChatCompletion
from pydantic import BaseModel, Field, ValidationError

from harness.core.canonical import Json
from harness.judge.protocol import TopLogprobs
from harness.store.ledger import Reply, Status

_FILTERED = re.compile(
    r"filter|safety|recitation|prohibit|blocklist|blocked|spii|sensitive|guardrail|refus|moderat", re.I
)
_CUT = re.compile(r"length|max|limit|trunc|incomplete", re.IGNORECASE)
_BROKEN_OFF = re.compile(r"error|abort|cancel|insufficient|timeout|time_out|interrupt|fail", re.IGNORECASE)
"""Finish reasons. Any other reason is the end of a whole reply: `stop`, `eos_token`, `end_turn`, or no reason."""
_THOUGHT = re.compile(r"think|reason|thought", re.IGNORECASE)
_MOST_WORDS = 300
_OTHER_THAN_TEXT = ("tool_calls", "function_call", "reasoning_content", "reasoning", "reasoning_details", "thinking")


class BrokenReplyError(Exception):
    """A reply under HTTP 200 that a second try may bring whole."""


class _Message(BaseModel):
    content: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    thinking: Any = None


class _Alternative(BaseModel):
    token: str
    logprob: float


class _Token(BaseModel):
    top_logprobs: list[_Alternative] | None = None


class _Logprobs(BaseModel):
    content: list[_Token] | None = None


class _Choice(BaseModel):
    finish_reason: Any = None
    message: _Message | None = None
    logprobs: _Logprobs | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = Field(None, ge=0)
    completion_tokens: int | None = Field(None, ge=0)


class _Completion(BaseModel):
    """The fields that we read of a chat completion. The client takes a reply of any shape for a completion."""

    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None


def error_body(completion: object) -> dict[str, Json]:
    """All fields of a reply that may be an error instead of a completion: of the whole, else of its first choice."""
    if not isinstance(completion, ChatCompletion):
        return {}
    whole = {**(completion.model_extra or {}), "object": completion.object}
    choices: Any = completion.choices
    first = choices[0] if isinstance(choices, list) and choices else None
    if whole.get("error") or not first:
        return whole
    return {**whole, "error": (getattr(first, "model_extra", None) or {}).get("error")}


def read_completion(completion: object, *, may_be_cut: bool) -> tuple[Reply, TopLogprobs]:
    """A completion as a reply without a value, and the likeliest alternatives to its first token.

    Where the status is `ok` the text may hold a verdict. Else it is the judge's, or the reason where the judge wrote
    nothing. `may_be_cut`: the request asked for so few tokens that a whole reply may end at them.

    Raises:
        BrokenReplyError: it is no chat completion, has no choices, was broken off, or says nothing for no reason.
    """
    shaped = _shaped(completion)
    choice, usage = shaped.choices[0] if shaped.choices else _Choice(), shaped.usage or _Usage()
    message, finish = choice.message or _Message(), str(choice.finish_reason or "")
    text = _text(message.content)
    refusal = _text(message.refusal) or _refusal_part(message.content)

    def read(status: Status, said: str) -> tuple[Reply, TopLogprobs]:
        counts = usage.prompt_tokens or 0, usage.completion_tokens or 0
        return Reply(status, None, said, shaped.model or "", *counts), _likeliest(choice)

    if refusal or _FILTERED.search(finish):
        return read("refused", refusal or text or f"stopped by a content filter ({finish})")
    if choice.message is None:
        more = (completion.model_extra if isinstance(completion, ChatCompletion) else None) or {}
        raise BrokenReplyError(f"the reply is empty (no choices){f': {more}'[:_MOST_WORDS] if more else ''}")
    if _BROKEN_OFF.search(finish):
        raise BrokenReplyError(f"the reply was broken off (finish_reason {finish})")
    if _CUT.search(finish) and not may_be_cut:
        return read("cut", text or f"(no text within judge.max_tokens; finish_reason {finish})")
    instead = ", ".join(name for name in _OTHER_THAN_TEXT if getattr(message, name))
    if text or (text is not None and not instead):
        return read("ok", text)
    if not instead and message.content is None and not _CUT.search(finish):
        raise BrokenReplyError("the reply is empty (no text)")
    return read("unparseable", f"(no text, only {instead or 'parts of other kinds'}; finish_reason {finish})")


def _shaped(completion: object) -> _Completion:
    if not isinstance(completion, ChatCompletion):
        raise BrokenReplyError("the reply is broken (no chat completion)")
    try:
        return _Completion.model_validate(completion, from_attributes=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise BrokenReplyError(f"the reply is broken ({'.'.join(map(str, first['loc']))}: {first['msg']})") from None


def _text(content: object) -> str | None:
    """The text of a message, whole or in parts, without thoughts. None where there is no text at all."""
    if content is None or isinstance(content, str):
        return content
    parts = [content] if isinstance(content, Mapping) else content
    if not isinstance(parts, Sequence):
        raise BrokenReplyError(f"the reply is broken (content is a {type(content).__name__})")
    texts = [text for part in parts if (text := _part_text(part)) is not None]
    return "".join(texts) if texts else None


def _part_text(part: object) -> str | None:
    if isinstance(part, Mapping):
        thought = part.get("thought") or _THOUGHT.search(str(part.get("type", "")))
        part = None if thought else part.get("text")
    return part if isinstance(part, str) else None


def _refusal_part(content: object) -> str | None:
    parts = content if isinstance(content, list) else []
    return next((str(p["refusal"]) for p in parts if isinstance(p, Mapping) and p.get("refusal")), None)


def _likeliest(choice: _Choice) -> dict[str, float]:
    tokens = choice.logprobs.content[0].top_logprobs if choice.logprobs and choice.logprobs.content else None
    return {token.token: token.logprob for token in reversed(tokens or [])}
