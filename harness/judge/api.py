"""What a judge is asked and what it replies. Every judge (endpoint, local model, program, recording) speaks this."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness.core.canonical import Json
from harness.store.ledger import Reply


@dataclass(frozen=True)
class JudgeTask:
    """One question to a judge."""

    item: str
    """The question's id, unique within the benchmark."""
    turn: int
    """1-based turn that is judged."""
    prompt: str = ""
    """Name of the judge prompt, e.g. `single-v1-multi-turn`."""
    messages: tuple[Mapping[str, str], ...] = ()
    """The chat messages for a model judge: {role, content}. () where a file of recorded verdicts does not say them."""
    evidence: Mapping[str, Json] = field(default_factory=dict)
    """Question, answer, reference and the like as data: what a program judge reads, what a report shows."""
    repeat: int = 0
    variant: str = ""
    """Of an answer that is judged in several ways, the way: the order of a pair, `ab` (the model's first) or `ba`."""


@dataclass(frozen=True)
class Verdict:
    """A judge's reply to one task."""

    task: JudgeTask
    reply: Reply


Program = Callable[[Mapping[str, Json]], tuple[float, str]]
"""A program judge: evidence -> (value, explanation). Raises ValueError when the evidence cannot be judged."""
