"""Conversations in, texts out: the one face of every engine. Nothing here imports torch."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self

from pydantic import Field, model_validator

from harness.core.settings import Settings, execution, later

UNFINISHED = "unfinished"
"""How an answer finished whose thinking never ended, and the status of its samples."""
Ending = Literal["complete", "cut", "empty", "unfinished", "failed"]
"""What became of an answer. complete: it ended by itself; cut: it reached the limit of its length; empty: it has no
text; unfinished: it never left its thinking; failed: generation failed."""


@dataclass(frozen=True)
class Thinking:
    """How a reasoning model marks its thinking in the text that it writes."""

    end: str
    """The answer is what stands behind the last of these."""
    start: str | None
    """A text that neither begins so nor holds an end is an answer without thinking. None: every text begins within the
    thinking, so that one without an end is unfinished."""


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
    think_end: str | None = later(None, min_length=1)
    """What ends the thinking of a reasoning model, such as `</think>`. A benchmark's answer is what stands behind the
    last of them: nothing before it is judged or told in the next turn. An answer that never leaves its thinking is no
    answer: its samples have no value, and the status `unfinished`. Teachers' responses keep their thinking."""
    think_start: str | None = later(None, min_length=1)
    """What begins that thinking, such as `<think>`, whether the model or its chat template writes it. A text that does
    not begin so is then an answer without thinking; with `think_end` alone it is unfinished thinking."""

    @model_validator(mode="after")
    def _think_end(self) -> Self:
        if self.think_start is not None and self.think_end is None:
            raise ValueError("`think_start` needs `think_end`, which says where the answer begins")
        return self

    @property
    def thinking(self) -> Thinking | None:
        """How the models mark their thinking; None where what they write is the answer."""
        return None if self.think_end is None else Thinking(self.think_end, self.think_start)


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
    thinking: Thinking | None = None
    """The marks that the text is to keep, even where the tokenizer hides them or the prompt ends with the first."""


@dataclass(frozen=True)
class Answer:
    """A model's texts in one conversation, one a turn. An engine gives one turn, which is added to those before."""

    id: str
    """The question's."""
    turns: tuple[str | None, ...] = ()
    """None where generation failed; `finish` then says why."""
    finish: tuple[str, ...] = ()
    """Per turn: `stop`, `length`, UNFINISHED, or `error: ...`."""
    tokens: tuple[int, ...] = ()
    """Generated tokens per turn, those of its thinking included."""
    thoughts: tuple[str, ...] = ()
    """Per turn the thinking before its text, with the marks; () where nobody looked for any."""

    def __add__(self, more: "Answer") -> "Answer":
        """The answer with later turns."""
        return Answer(
            self.id,
            self.turns + more.turns,
            self.finish + more.finish,
            self.tokens + more.tokens,
            self.thoughts + more.thoughts,
        )

    @property
    def endings(self) -> tuple[Ending, ...]:
        """What became of each turn; () for stored answers that do not say how they finished."""
        return tuple(map(_ending, self.turns, self.finish))


def _ending(text: str | None, finish: str) -> Ending:
    if finish == UNFINISHED:
        return "unfinished"
    if text is None:
        return "failed"
    if not text.strip():
        return "empty"
    return "cut" if finish == "length" else "complete"


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
