"""A reasoning model's text in two: what it thought, and its answer."""

from collections.abc import Collection, Sequence
from typing import Any

from harness.generate.api import UNFINISHED, Answer, Thinking


def without_thinking(answer: Answer, marks: Thinking) -> Answer:
    """The turns of an engine's answer without their thinking, which is kept beside them.

    A turn whose thinking never ends has no text, and its `finish` is UNFINISHED.
    """
    split = [
        (None, "", finish) if text is None else _split(text, finish, marks)
        for text, finish in zip(answer.turns, answer.finish, strict=True)
    ]
    texts, thoughts, finish = zip(*split, strict=True) if split else ((), (), ())
    return Answer(answer.id, texts, finish, answer.tokens, thoughts)


def _split(text: str, finish: str, marks: Thinking) -> tuple[str | None, str, str]:
    """The answer, the thinking before it, and how it finished."""
    thought, end, said = text.rpartition(marks.end)
    if end:
        return said.lstrip(), thought + end, finish
    if marks.start is None or text.lstrip().startswith(marks.start):
        return None, text, UNFINISHED
    return text, "", finish


def is_open(prompt: str, marks: Thinking) -> bool:
    """Whether a prompt's text begins the thinking that the answer goes on with."""
    return marks.start is not None and prompt.rstrip().endswith(marks.start)


def decoded(tokenizer: Any, tokens: Sequence[int], shown: Collection[str] = ()) -> str:
    """The text of tokens without special ones, but with those whose text is in `shown`."""
    kept = {i: str(t) for i, t in tokenizer.added_tokens_decoder.items() if t.special and str(t) in shown}
    text, begin = "", 0
    for place, token in enumerate(tokens):
        if token in kept:
            text += str(tokenizer.decode(tokens[begin:place], skip_special_tokens=True)) + kept[token]
            begin = place + 1
    return text + str(tokenizer.decode(tokens[begin:], skip_special_tokens=True))
