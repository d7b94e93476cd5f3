"""What every engine does around the model, so that they ask and stop alike: token ids in, text out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.errors import HarnessError
from harness.generate.api import Completion, Request
from harness.models.chat import encode_prompt, end_of_turn_ids


@dataclass(frozen=True)
class Prompt:
    """A request as token ids."""

    request: Request
    ids: list[int]
    limit: int
    """The most tokens its answer may have."""


def prepare(tokenizer: Any, requests: Sequence[Request], max_length: int) -> tuple[list[Prompt], list[Completion]]:
    """The prompts, longest first, and the failures: requests that leave no room for an answer."""
    prompts, failed = [], []
    for request in requests:
        ids = encode_prompt(tokenizer, request.messages)
        room = max_length - len(ids)
        if room < 1:
            finish = f"error: the prompt has {len(ids)} tokens, the limit is {max_length}"
            failed.append(Completion(request.key, None, finish, len(ids), 0))
        else:
            prompts.append(Prompt(request, ids, min(request.max_new_tokens, room)))
    return sorted(prompts, key=lambda prompt: (-len(prompt.ids), prompt.request.key)), failed


def completion(tokenizer: Any, prompt: Prompt, tokens: Sequence[int], finish: str) -> Completion:
    """The answer that these tokens are."""
    text = tokenizer.decode(tokens, skip_special_tokens=True)
    return Completion(prompt.request.key, text, finish, len(prompt.ids), len(tokens))


def room(config: Any, max_length: int) -> int:
    """Tokens of prompt and answer: `max_length`, or what the model's configuration allows where that is less."""
    return min(max_length, getattr(config.get_text_config(), "max_position_embeddings", None) or max_length)


def stop_ids(tokenizer: Any, generation_config: Any) -> frozenset[int]:
    """What ends an answer: the generation config's end tokens and the chat template's end of turn."""
    configured = generation_config.eos_token_id if generation_config else None
    listed = configured if isinstance(configured, list) else [configured] if configured is not None else []
    stops = frozenset([*listed, *end_of_turn_ids(tokenizer)])
    if not stops:
        raise HarnessError("the model names no end token", where=str(tokenizer.name_or_path))
    return stops
