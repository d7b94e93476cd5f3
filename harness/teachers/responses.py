"""From conversations to token ids: which tokens are scored, and which turn and step each belongs to."""

import sys
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.models.chat import Encoded, encode
from harness.models.load import load_tokenizer
from harness.models.rendering import Refused
from harness.teachers.api import RESPONSE_COLUMNS
from harness.teachers.sequences import Response
from harness.teachers.steps import step_of, step_starts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PLAIN_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ message['role'] | capitalize + ':\\n' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:\\n' }}{% endif %}"
)
"""Writes a conversation for a base model that has no chat template."""


def scoring_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """The tokenizer of a student base; with PLAIN_TEMPLATE where it has no chat template."""
    tokenizer = load_tokenizer(folder)
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_TEMPLATE
    return tokenizer


def read_responses(
    tokenizer: "PreTrainedTokenizerFast", conversations: Iterable[Mapping[str, Any]], max_length: int
) -> tuple[pd.DataFrame, list[Response]]:
    """RESPONSE_COLUMNS for every conversation, and the responses that are scored, in the same order."""
    rows: list[dict[str, Any]] = []
    responses: list[Response] = []
    start = 0
    for conversation in conversations:
        row = dict.fromkeys(RESPONSE_COLUMNS, 0) | {"id": str(conversation["id"]), "status": "empty", "cut": False}
        if answered(conversation["messages"]):
            try:
                encoded = encode(tokenizer, conversation["messages"], sys.maxsize)
            except Refused:
                rows.append(row | {"status": "refused"})
                continue
            response, counts = _response(encoded, max_length, start, frozenset(tokenizer.all_special_ids))
            row |= counts
            if response is not None:
                responses.append(response)
                start += len(response.columns)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(RESPONSE_COLUMNS)), responses


def answered(messages: Iterable[Mapping[str, str]]) -> bool:
    """Whether a conversation has an answer, and none of its answers is blank."""
    answers = [m["content"] for m in messages if m["role"] == "assistant"]
    return bool(answers) and all(answer.strip() for answer in answers)


def _response(
    encoded: Encoded, max_length: int, start: int, special: frozenset[int]
) -> tuple[Response | None, dict[str, Any]]:
    mask = np.array(encoded.response_mask)
    mask[0] = False  # No token precedes the first, so nothing predicts it.
    every = np.flatnonzero(mask)
    columns = every[every < max_length].astype(np.int32)
    if not len(columns):
        return None, {"status": "no room", "prompt_tokens": int(every[0])}
    ids = np.array(encoded.input_ids[: columns[-1] + 1], dtype=np.int32)
    turns, steps, texts = _steps(encoded, columns.tolist(), special)
    counts = {
        "status": "ok",
        "tokens": len(columns),
        "prompt_tokens": len(ids) - len(columns),
        "bytes": sum(len(text.encode()) for text in texts),
        "characters": sum(len(text) for text in texts),
        "cut": len(columns) < len(every),
    }
    return Response(start, ids, columns, turns, steps), counts


def _steps(
    encoded: Encoded, columns: list[int], special: frozenset[int]
) -> tuple["np.ndarray[Any, np.dtype[np.int32]]", "np.ndarray[Any, np.dtype[np.int32]]", list[str]]:
    """Turn and step of each scored token, and each turn's scored text without its end-of-turn token."""
    ends = [end for _, end in encoded.turns]
    turns = [bisect_left(ends, encoded.offsets[column][1]) for column in columns]
    steps: list[int] = []
    texts = []
    for turn, (begin, _) in enumerate(encoded.turns):
        turn_columns = [column for column, t in zip(columns, turns, strict=True) if t == turn]
        if not turn_columns:  # a turn that is not learned, or lies beyond `max_length`
            continue
        last = turn_columns[-1]
        end = encoded.offsets[last][0 if encoded.input_ids[last] in special else 1]
        texts.append(encoded.text[begin:end])
        starts = step_starts(texts[-1])
        first = steps[-1] + 1 if steps else 0
        steps += [first + step_of(starts, min(encoded.offsets[column][1], end) - begin) for column in turn_columns]
    return np.array(turns, dtype=np.int32), np.array(steps, dtype=np.int32), texts
