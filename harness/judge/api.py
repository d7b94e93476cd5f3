"""What a judge is asked and what it answers. Every judge (endpoint, local model, program, recording) speaks this."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.core.canonical import Json

Status = Literal["ok", "unparseable", "cut", "refused", "failed", "missing"]
"""ok: a value. missing: there was no answer to judge. The others are final failures of this one question: unparseable:
the judge's reply holds no verdict; cut: it ended at its longest; refused: the judge or its server declines it; failed:
the server failed on it in every try."""


@dataclass(frozen=True)
class JudgeTask:
    """One question to a judge."""

    item: str
    """The question's id, unique within the benchmark."""
    turn: int
    """1-based turn that is judged."""
    prompt: str
    """Name of the judge prompt, e.g. `single-v1-multi-turn`."""
    messages: tuple[Mapping[str, str], ...]
    """The chat messages for a model judge: {role, content}."""
    evidence: Mapping[str, Json] = field(default_factory=dict)
    """Question, answer, reference and the like as data: what a program judge reads, what a report shows."""
    repeat: int = 0
    variant: str = ""
    """Which of several ways the same answer is judged: the order of a pair, `ab` (the model's answer first) or `ba`."""


@dataclass(frozen=True)
class Verdict:
    """A judge's answer to one task. `value` is None unless status is `ok`."""

    item: str
    turn: int
    repeat: int
    status: Status
    value: float | None
    text: str
    """The judge's full reply, or the reason of a failure."""
    prompt: str = ""
    model: str = ""
    """The model name that came back."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    price_usd: float | None = None
    latency_s: float = 0.0
    variant: str = ""
    """The task's."""

    @classmethod
    def about(cls, task: JudgeTask, *, status: Status, value: float | None, text: str, **more: Any) -> "Verdict":
        """The verdict on a task; `more` are the fields that say what came back and what it cost."""
        asked: dict[str, Any] = {name: getattr(task, name) for name in ("item", "turn", "repeat", "prompt", "variant")}
        return cls(**asked, status=status, value=value, text=text, **more)


Program = Callable[[Mapping[str, Json]], tuple[float, str]]
"""A program judge: evidence -> (value, explanation). Raises ValueError when the evidence cannot be judged."""
