"""Where each of the assistant's turns stands in a conversation's text, and the token that ends it.

Each content is marked at its begin and its end by characters that occur nowhere else; in the text that the template
writes of the marked conversation, the marks show where the contents are. This works for templates that trim contents,
drop earlier thoughts or rewrite other turns, because it assumes nothing about the text around a content.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from harness.models.rendering import Messages, Refused, refusal, render, template_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Span = tuple[int, int]
"""[start, end) characters of a text."""
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_MARKS = range(0xF0000, 0xFFFFE)
"""Code points for private use, which no text is likely to hold."""
_ANY_MARK = re.compile(f"[{chr(_MARKS[0])}-{chr(_MARKS[-1])}]")


@dataclass(frozen=True)
class TurnEnd:
    """The text that a template writes after an assistant's content, up to its end-of-turn token."""

    text: str
    """From the first character that is no white space to the end of the token."""
    id: int
    """The last token of `text`: the first after the content that is a special or added token."""


def turn_end(tokenizer: "PreTrainedTokenizerFast") -> TurnEnd | None:
    """The end of an assistant's turn; None where the template writes no special or added token after it.

    Training teaches the model to write this token and generation stops at it, whether or not it is the tokenizer's end
    token.

    Raises:
        HarnessError: the tokenizer has no chat template, or the template refuses a question and its answer.
    """
    return _turn_end(tokenizer, template_of(tokenizer))


@lru_cache(maxsize=8)
def _turn_end(tokenizer: "PreTrainedTokenizerFast", template: str) -> TurnEnd | None:
    """`turn_end` for the tokenizer with this template; kept, because every conversation asks for it."""
    mark = chr(_MARKS[0])
    question = [{"role": "user", "content": "a"}, {"role": "assistant", "content": f"a{mark}"}]
    tail = render(tokenizer, question).rpartition(mark)[2]
    tokens = tokenizer(tail, add_special_tokens=False, return_offsets_mapping=True)
    known = {*tokenizer.added_tokens_decoder, *tokenizer.all_special_ids}
    for token, (_, end) in zip(tokens["input_ids"], tokens["offset_mapping"], strict=True):
        if token in known:
            return TurnEnd(tail[:end].strip(), token)
    return None


def turns_of(tokenizer: "PreTrainedTokenizerFast", messages: Messages) -> tuple[str, list[Span]]:
    """The conversation's text, and the span of each assistant turn in it: the text that the assistant writes.

    A turn begins where the template's generation prompt ends, with whatever the template writes before the content (an
    empty thought, say), and ends after its end-of-turn token. Where the template has {% generation %} marks, a span is
    also cut to the text within them.

    Raises:
        Refused: the template refuses the conversation, or leaves out an answer.
    """
    text, end = render(tokenizer, messages), turn_end(tokenizer)
    if not _GENERATION.search(template_of(tokenizer)):
        return text, _turns(tokenizer, messages, text, end)
    marked = [_to_end(text, span, end) for span in _marked_by_template(tokenizer, messages)]
    try:
        turns = _turns(tokenizer, messages, text, end)
    except Refused:  # The template's marks still say where the turns are.
        return text, marked
    both = ((max(a, c), min(b, d)) for a, b in marked for c, d in turns)
    return text, [span for span in both if span[0] < span[1]]


def _turns(tokenizer: "PreTrainedTokenizerFast", messages: Messages, text: str, end: TurnEnd | None) -> list[Span]:
    answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    fresh = _fresh(text, messages)
    mark = next(fresh)
    numbers = sorted({*answers, *(i - 1 for i in answers if i)})
    places = _places(tokenizer, messages, text, {i: (next(fresh), next(fresh)) for i in numbers})
    prompts = {i: _prompt_after(tokenizer, messages[:i], mark) for i in answers if i}
    starts = [_start(tokenizer, text, places.get(i - 1), places[i], prompts.get(i, "")) for i in answers]
    return [_to_end(text, (start, places[i].end), end) for i, start in zip(answers, starts, strict=True)]


@dataclass(frozen=True)
class _Place:
    """Where a content stands in a text, without the white space at its end."""

    begin: int | None
    """None where the template leaves out the content's begin, as some do with thoughts."""
    end: int


def _places(
    tokenizer: "PreTrainedTokenizerFast", messages: Messages, text: str, marks: Mapping[int, tuple[str, str]]
) -> dict[int, _Place]:
    """The places of marked messages' contents in `text`, which is the whole conversation."""
    if not marks:
        return {}
    written = render(tokenizer, [_marked(m, *marks.get(i, ("", ""))) for i, m in enumerate(messages)])
    every = {mark for pair in marks.values() for mark in pair}
    plain, at = "", dict[str, list[int]]()
    for piece in re.split(f"([{''.join(every)}])", written):
        if piece in every:
            at.setdefault(piece, []).append(len(plain))
        else:
            plain += piece
    if plain != text:
        raise _cannot_tell(tokenizer, "writes other text where contents begin or end otherwise")
    places = {}
    for i, (begin, end) in marks.items():
        if len(at.get(end, ())) != 1:
            raise _cannot_tell(tokenizer, f"does not write the content of message {i + 1} once")
        places[i] = _Place(_begin(messages[i]["content"], text, at.get(begin, ())), at[end][0])
    return places


def _begin(content: str, text: str, marks: Sequence[int]) -> int | None:
    """Where a content begins: before its leading white space, unless the template trimmed that."""
    if len(marks) != 1:
        return None
    white = content[: len(content) - len(content.lstrip())]
    return marks[0] - len(white) if text.endswith(white, 0, marks[0]) else marks[0]


def _cannot_tell(tokenizer: "PreTrainedTokenizerFast", why: str) -> Refused:
    return Refused(
        f"the chat template {why}, so the answers' tokens cannot be told apart",
        where=str(tokenizer.name_or_path),
        fix="Name a template with {% generation %} marks by `chat_template:`.",
    )


def _fresh(text: str, messages: Messages) -> Iterator[str]:
    """Characters that occur nowhere in a conversation."""
    used = {mark for part in (text, *(m["content"] for m in messages)) for mark in _ANY_MARK.findall(part)}
    return (c for c in map(chr, _MARKS) if c not in used)


def _marked(message: Mapping[str, Any], begin: str, end: str) -> dict[str, Any]:
    """The message with marks around its content; white space stays outside them, where a template may trim it."""
    content = message["content"]
    inside = content.lstrip()
    outside, core = content[: len(content) - len(inside)], inside.rstrip()
    return {**message, "content": outside + begin + core + end + inside[len(core) :]}


def _start(tokenizer: "PreTrainedTokenizerFast", text: str, before: _Place | None, place: _Place, prompt: str) -> int:
    """Where an answer begins: after the generation `prompt` that would follow the content before it."""
    if before is not None and prompt:
        if text.startswith(prompt, before.end):
            return before.end + len(prompt)
        if shared := _shared(tokenizer, prompt, text[before.end :]):
            start = before.end + shared
            return start if place.begin is None else min(place.begin, start)
    if place.begin is None:
        raise _cannot_tell(tokenizer, "does not write how an answer begins")
    return place.begin


def untaught_prompt(tokenizer: "PreTrainedTokenizerFast") -> str:
    """The end of the generation prompt that no training text holds, e.g. the begin of a thought; empty if none."""
    mark, question = chr(_MARKS[0]), {"role": "user", "content": "a"}
    prompt = _prompt_after(tokenizer, [question], mark)
    text = render(tokenizer, [_marked(question, "", mark), {"role": "assistant", "content": "a"}]).rpartition(mark)[2]
    return "" if text.startswith(prompt) else prompt[_shared(tokenizer, prompt, text) :]


def _prompt_after(tokenizer: "PreTrainedTokenizerFast", messages: Messages, mark: str) -> str:
    """The generation prompt after the last of these contents; empty where the template refuses the messages."""
    try:
        return render(tokenizer, [*messages[:-1], _marked(messages[-1], "", mark)], prompt=True).rpartition(mark)[2]
    except Refused:
        return ""


def _shared(tokenizer: "PreTrainedTokenizerFast", prompt: str, text: str) -> int:
    """The length in characters of the common begin of a prompt and a text, in whole tokens of the prompt."""
    same = next((n for n, (a, b) in enumerate(zip(prompt, text, strict=False)) if a != b), min(len(prompt), len(text)))
    offsets: Sequence[Span] = tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return max((end for _, end in offsets if end <= same), default=0)


def _to_end(text: str, span: Span, end: TurnEnd | None) -> Span:
    """The span up to the turn's end, without a line break after that: generation stops before it."""
    start, stop = span
    if end is None:
        return span
    inside = text[start:stop].rstrip()
    if inside.endswith(end.text):
        return start, start + len(inside)
    after = stop + len(text[stop:]) - len(text[stop:].lstrip())
    return (start, after + len(end.text)) if text.startswith(end.text, after) else span


def _marked_by_template(tokenizer: "PreTrainedTokenizerFast", messages: Messages) -> list[Span]:
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        _, spans = render_jinja_template(
            conversations=[[dict(m) for m in messages]],
            chat_template=template_of(tokenizer),
            return_assistant_tokens_mask=True,
            **tokenizer.special_tokens_map,
        )
    except Exception as error:  # a template is a program: it can fail in any way
        raise refusal(tokenizer, error) from None
    return [(start, end) for start, end in spans[0]]
