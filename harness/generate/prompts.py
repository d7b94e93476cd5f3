"""The work of every engine around the model, so that all ask and stop alike: token ids in, text out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.errors import HarnessError
from harness.generate.api import Answer, Request
from harness.generate.thinking import decoded, is_open
from harness.models.chat import encode_prompt, end_of_turn_ids
from harness.models.ends import end_ids
from harness.models.rendering import Refused


@dataclass(frozen=True)
class Prompt:
    """A request as token ids."""

    request: Request
    ids: list[int]
    limit: int
    """The most tokens its answer may have."""


def prepare(tokenizer: Any, requests: Sequence[Request], max_length: int) -> tuple[list[Prompt], list[Answer]]:
    """The prompts, longest first, and the failures: requests that leave no room for an answer, or that
    the chat template refuses."""
    prompts, failed = [], []
    for request in requests:
        try:
            ids = encode_prompt(tokenizer, request.messages)
        except Refused as refused:
            failed.append(failure(request, refused.what))
            continue
        room = max_length - len(ids)
        if room < 1:
            failed.append(failure(request, f"the prompt has {len(ids)} tokens, the limit is {max_length}"))
        else:
            prompts.append(Prompt(request, ids, min(request.max_new_tokens, room)))
    return sorted(prompts, key=lambda prompt: (-len(prompt.ids), prompt.request.id)), failed


def failure(request: Request, why: str, tokens: int = 0) -> Answer:
    """The answer to a request for which generation failed, after so many tokens."""
    return Answer(request.id, (None,), (f"error: {why}",), (tokens,))


def answer(tokenizer: Any, prompt: Prompt, tokens: Sequence[int], finish: str, stops: Collection[int]) -> Answer:
    """The answer that these tokens are. With marks of thinking to keep, the text begins with the one that ends the
    prompt."""
    marks = prompt.request.thinking
    shown = [mark for mark in (marks.start, marks.end) if mark is not None] if marks else []
    text = answer_text(tokenizer, tokens, stops, shown)
    if marks and marks.start is not None and is_open(tokenizer.decode(prompt.ids, skip_special_tokens=False), marks):
        text = marks.start + text
    return Answer(prompt.request.id, (text,), (finish,), (len(tokens),))


def answer_text(tokenizer: Any, tokens: Sequence[int], stops: Collection[int], shown: Collection[str] = ()) -> str:
    """The text before the first end token, which decoding need not hide; of special tokens only those in `shown`."""
    length = next((n for n, token in enumerate(tokens) if token in stops), len(tokens))
    return decoded(tokenizer, tokens[:length], shown)


def room(config: Any, max_length: int) -> int:
    """Tokens of prompt and answer: `max_length`, or what the model's configuration allows where that is less."""
    return min(max_length, getattr(config.get_text_config(), "max_position_embeddings", None) or max_length)


def stop_ids(tokenizer: Any, generation_config: Any) -> frozenset[int]:
    """The tokens that end an answer: the generation config's end tokens and the chat template's end of turn."""
    configured = generation_config.eos_token_id if generation_config else None
    stops = frozenset([*end_ids(configured), *end_of_turn_ids(tokenizer)])
    if not stops:
        raise HarnessError("the model names no end token", where=str(tokenizer.name_or_path))
    return stops
