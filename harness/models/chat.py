"""Chat templates: from conversations to token ids, and which of the tokens are the assistant's."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.models.rendering import Messages, render, template_of
from harness.models.turns import Span, turn_end, turns_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Encoded:
    """A conversation as tokens."""

    input_ids: list[int]
    response_mask: list[bool]
    """True exactly on the tokens of the assistant's turns, end-of-turn tokens included; turns with `train: false` are
    left out."""
    truncated: bool
    """Tokens were cut off the end; when no response token is left, `response_mask` is false throughout."""
    text: str
    """The text that was tokenised, uncut."""
    offsets: list[tuple[int, int]]
    """[start, end) characters of each token in `text`. White space may be missing at a token's start."""
    turns: list[tuple[int, int]]
    """[start, end) characters of each assistant turn in `text`, its end-of-turn token included."""


def encode(tokenizer: "PreTrainedTokenizerFast", messages: Messages, max_length: int) -> Encoded:
    """Tokenise a conversation by its chat template and mark the assistant's tokens; cut at `max_length` tokens.

    Raises:
        Refused: the template refuses this conversation.
    """
    text, spans = turns_of(tokenizer, messages)
    tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids: list[int] = tokens["input_ids"]
    offsets: list[tuple[int, int]] = tokens["offset_mapping"][:max_length]
    learned = taught(messages, spans)
    starts, ends = np.array(offsets, dtype=np.int64).reshape(-1, 2).T
    mask: list[bool] = within(starts, ends, learned).tolist()
    return Encoded(ids[:max_length], mask, len(ids) > max_length, text, offsets, spans)


def render_prompt(tokenizer: "PreTrainedTokenizerFast", messages: Messages) -> str:
    """The text after which the assistant's next turn begins."""
    return render(tokenizer, messages, prompt=True)


def encode_prompt(tokenizer: "PreTrainedTokenizerFast", messages: Messages) -> list[int]:
    """Token ids after which the assistant's next turn begins."""
    ids: list[int] = tokenizer(render_prompt(tokenizer, messages), add_special_tokens=False)["input_ids"]
    return ids


def template_digest(tokenizer: "PreTrainedTokenizerFast") -> str:
    """SHA-256 of the chat template, in hex; the template includes the date that it writes."""
    return hashlib.sha256(template_of(tokenizer).encode()).hexdigest()


def end_of_turn_ids(tokenizer: "PreTrainedTokenizerFast") -> list[int]:
    """The ids that end an assistant's turn: the template's end-of-turn token, and the tokenizer's end token."""
    end = turn_end(tokenizer)
    ids = [end.id] if end else []
    eos = tokenizer.eos_token_id
    return ids if eos is None or eos in ids else [*ids, eos]


def taught(messages: Messages, turns: Sequence[Span]) -> Sequence[Span]:
    """Of the spans of a conversation's assistant turns, those that are learned: all but turns with `train: false`."""
    learned = [m.get("train", True) for m in messages if m["role"] == "assistant"]
    return turns if all(learned) else [span for span, is_learned in zip(turns, learned, strict=True) if is_learned]


def within(starts: NDArray[np.int64], ends: NDArray[np.int64], spans: Sequence[Span]) -> NDArray[np.bool_]:
    """Whether each token, from its start to its end, has a character in one of the spans."""
    inside = np.zeros(len(starts), dtype=bool)
    empty = starts == ends  # The tokenizer's offsets leave white space out: such a token ends at its offset.
    for begin, end in spans:
        inside |= np.where(empty, (begin < ends) & (ends <= end), (starts < end) & (ends > begin))
    return inside
