"""What a run of the lm-eval package is told, and what a request is called."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.core.canonical import Json


@dataclass(frozen=True)
class How:
    """What the command would be told."""

    num_fewshot: int | None
    limit: int | None
    apply_chat_template: bool
    seed: int | None
    gen_kwargs: Mapping[str, Json] = field(default_factory=dict)
    enable_thinking: bool | None = None
    think_end_token: str | None = None
    repeats: int = 1


def request_key(args: Sequence[Any]) -> str:
    """A request by what it asks, as lm-eval's own cache has it."""
    return json.dumps(list(args))
