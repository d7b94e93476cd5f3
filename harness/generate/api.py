"""Conversations in, texts out: the one face of every engine. Nothing here imports torch."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pydantic import Field

from harness.core.settings import Settings, execution


class GenerateSettings(Settings):
    """How answers are generated."""

    engine: str = "transformers"
    """What runs the model: `transformers`, `vllm` or a plug-in's name; part of every answer's identity. `auto` is
    settled when a plan is made: vllm where vLLM is installed and the stage has a GPU, else transformers."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """float32 gives the same answers whatever the batch; bfloat16 is faster, and only repeats with an equal batch."""
    batch_size: int = execution(32, ge=1)
    """transformers: conversations per batch, halved until they fit where memory runs out. With bfloat16 it can change
    answers, so the answers' provenance records it. vLLM makes its own batches. Also the batch of lm-eval
    and of held-out likelihoods."""
    max_length: int = 4096
    """Prompt plus answer, in tokens; an answer is cut when the model's own limit is lower."""
    tensor_parallel: int = execution(1, ge=1)
    """vllm: GPUs that hold one copy of the model; `resources.gpus` must be as many."""
    memory_fraction: float | None = execution(None, gt=0, le=1)
    """vllm: share of each GPU's memory for weights and cache (0.9 by default); without a GPU, share of the machine's
    memory for the cache alone (2 GiB by default)."""
    startup_timeout_s: float = execution(900.0, gt=0)
    """vllm: how long it may take to load a model."""


@dataclass(frozen=True)
class Request:
    """One conversation that ends with a user message: an engine is to write the next turn."""

    id: str
    """Unique within a call; the answer has the same."""
    messages: tuple[Mapping[str, str], ...]
    temperature: float
    max_new_tokens: int
    seed: int
    """For sampling; unused when temperature is 0."""
    top_p: float = 1.0
    """Draw from the likeliest tokens that together have this probability."""


@dataclass(frozen=True)
class Answer:
    """A model's texts in one conversation, one a turn. An engine gives one turn, which is added to those before."""

    id: str
    """The question's."""
    turns: tuple[str | None, ...] = ()
    """None where generation failed; `finish` then says why."""
    finish: tuple[str, ...] = ()
    """Per turn: `stop`, `length`, or `error: ...`."""
    tokens: tuple[int, ...] = ()
    """Generated tokens per turn."""

    def __add__(self, later: "Answer") -> "Answer":
        """The answer with the later turns."""
        return Answer(self.id, self.turns + later.turns, self.finish + later.finish, self.tokens + later.tokens)


class Engine(Protocol):
    """A loaded model that completes conversations."""

    def complete(self, requests: Sequence[Request], on_done: Callable[[list[Answer]], None]) -> None:
        """Complete all requests; `on_done` gets each batch as soon as it is finished (that is where work is saved)."""
        ...


@dataclass(frozen=True)
class EngineType:
    """A way to run models, as `generate.engine` names it."""

    name: str
    load: Callable[[Path, GenerateSettings, Path], AbstractContextManager[Engine]]
    """(a model's folder, settings, a log file) -> the engine with that model, gone on exit. What a process of its own
    says goes to the log. Raises HarnessError where it cannot load the model (in time)."""
    packages: tuple[str, ...] = ()
    """Distributions that it may come in: the version of the first that is installed is recorded beside answers."""
    check: Callable[[], None] = lambda: None
    """Raises HarnessError where it cannot run here for what is not installed."""


class ResponseSettings(Settings):
    """How a teacher answers the prompts that a student is trained on."""

    temperature: float = Field(0.0, ge=0)
    """0 is greedy."""
    max_new_tokens: int = Field(512, ge=1)
    top_p: float = Field(1.0, gt=0, le=1)
    """Draw from the likeliest tokens that together have this probability."""
    candidates: int = Field(1, ge=1)
    """Answers per prompt, each with a seed of its own; `pick` says which is kept. Needs a temperature."""
    pick: Literal["first", "best", "worst"] = "first"
    """Of several candidates: the first, or the one with the highest or lowest `teachers.reward`."""
