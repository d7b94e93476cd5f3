"""Chat templates: conversations to token ids, and which of those tokens are the assistant's."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Messages = Sequence[Mapping[str, Any]]
"""[{role, content}, ...]; `train: false` on an assistant's turn that is read and not learned."""

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True)
class Encoded:
    """A conversation as tokens."""

    input_ids: list[int]
    response_mask: list[bool]
    """True exactly on the assistant's tokens, each turn's end-of-turn token with it, and on no turn of
    `train: false`."""
    truncated: bool
    """Tokens were cut off the end; when no response token is left, `response_mask` is false throughout."""
    text: str
    """What was tokenised, whole."""
    offsets: list[tuple[int, int]]
    """[start, end) characters of `text` of each token. White space may be missing at a token's start."""
    turns: list[tuple[int, int]]
    """[start, end) characters of `text` of each assistant turn, its end-of-turn token with it."""


def encode(tokenizer: "PreTrainedTokenizerFast", messages: Messages, max_length: int) -> Encoded:
    """Tokenise a conversation by its chat template and mark the assistant's tokens; cut at `max_length` tokens."""
    text, spans = _render_with_spans(tokenizer, messages)
    tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids: list[int] = tokens["input_ids"]
    offsets: list[tuple[int, int]] = tokens["offset_mapping"][:max_length]
    told = [m for m in messages if m["role"] == "assistant"]
    silent = {turn for turn, message in enumerate(told) if not message.get("train", True)}
    learned = [span for turn, span in enumerate(spans) if turn not in silent]
    mask = [any(_inside(offset, span) for span in learned) for offset in offsets]
    return Encoded(ids[:max_length], mask, len(ids) > max_length, text, offsets, spans)


def render_prompt(tokenizer: "PreTrainedTokenizerFast", messages: Messages) -> str:
    """The text after which the assistant's next turn begins."""
    return _render(tokenizer, messages, prompt=True)


def encode_prompt(tokenizer: "PreTrainedTokenizerFast", messages: Messages) -> list[int]:
    """Token ids after which the assistant's next turn begins."""
    ids: list[int] = tokenizer(render_prompt(tokenizer, messages), add_special_tokens=False)["input_ids"]
    return ids


def template_digest(tokenizer: "PreTrainedTokenizerFast") -> str:
    """SHA-256 of the chat template, in hex."""
    return hashlib.sha256(_template(tokenizer).encode()).hexdigest()


def end_of_turn_ids(tokenizer: "PreTrainedTokenizerFast") -> list[int]:
    """The ids that end an assistant's turn: the tokenizer's end token and the special one the template writes."""
    found = {tokenizer.eos_token_id} - {None}
    answer = "probe"
    text = _render(
        tokenizer, [{"role": "user", "content": "a"}, {"role": "assistant", "content": answer}], prompt=False
    )
    after = tokenizer(text.rpartition(answer)[2].strip(), add_special_tokens=False)["input_ids"]
    return sorted(found.union(after[:1]) & set(tokenizer.all_special_ids))


def _inside(token: tuple[int, int], span: tuple[int, int]) -> bool:
    start, end = token
    if start == end:  # White space that the tokenizer's offsets leave out: it ends where the offset stands.
        return span[0] < end <= span[1]
    return start < span[1] and end > span[0]


def _template(tokenizer: "PreTrainedTokenizerFast") -> str:
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise HarnessError(
            "the tokenizer has no chat template",
            where=str(tokenizer.name_or_path),
            fix="Name a Jinja file with `chat_template:` beside the model, or use an instruction-tuned model.",
        )
    return str(template)


def _render(tokenizer: "PreTrainedTokenizerFast", messages: Messages, *, prompt: bool) -> str:
    from jinja2.exceptions import TemplateError

    template = _template(tokenizer)
    try:
        text = tokenizer.apply_chat_template(
            [dict(m) for m in messages], chat_template=template, tokenize=False, add_generation_prompt=prompt
        )
    except TemplateError as error:
        roles = ", ".join(m["role"] for m in messages)
        raise HarnessError(
            f"the chat template refuses a conversation of roles {roles} ({error})", where=str(tokenizer.name_or_path)
        ) from None
    return str(text)


def _render_with_spans(tokenizer: "PreTrainedTokenizerFast", messages: Messages) -> tuple[str, list[tuple[int, int]]]:
    """The rendered text and the [start, end) characters of each assistant turn."""
    text = _render(tokenizer, messages, prompt=False)
    if _GENERATION.search(_template(tokenizer)):
        return text, [_with_end_token(tokenizer, text, s) for s in _marked_spans(tokenizer, messages)]
    spans = []
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = _render(tokenizer, messages[:i], prompt=True)
        after = _render(tokenizer, messages[: i + 1], prompt=False)
        if not (after.startswith(before) and text.startswith(after)):
            raise HarnessError(
                f"the chat template rewrites earlier turns, so turn {i + 1}'s tokens cannot be told apart",
                where=str(tokenizer.name_or_path),
                fix="Name a template with {% generation %} marks by `chat_template:`, or train on one turn.",
            )
        # What follows the end-of-turn token (a line break) belongs to no turn: generation stops before it.
        spans.append((len(before), max(len(before), len(after.rstrip()))))
    return text, spans


def _marked_spans(tokenizer: "PreTrainedTokenizerFast", messages: Messages) -> list[tuple[int, int]]:
    from transformers.utils.chat_template_utils import render_jinja_template

    _, spans = render_jinja_template(
        conversations=[[dict(m) for m in messages]],
        chat_template=_template(tokenizer),
        return_assistant_tokens_mask=True,
        **tokenizer.special_tokens_map,
    )
    return [(start, end) for start, end in spans[0]]


def _with_end_token(tokenizer: "PreTrainedTokenizerFast", text: str, span: tuple[int, int]) -> tuple[int, int]:
    """The span, with the end token that some templates write just after their {% generation %} block."""
    start, end = span
    eos = tokenizer.eos_token
    return (start, end + len(eos)) if eos and text.startswith(eos, end) else span
