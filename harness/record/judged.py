"""A cell's answers on one benchmark and the verdicts on them, read once for all that a run folder says of them."""

from dataclasses import dataclass

from harness.generate.api import Answer
from harness.judge.api import Verdict
from harness.plan.build import JudgedStages
from harness.stages import answer, judge
from harness.stages.api import Stage
from harness.store.store import Store

Call = tuple[int, float | None]
"""Tokens of prompt and reply, and the price in dollars where it is known."""


@dataclass(frozen=True)
class Judged:
    """What is finished of it."""

    cell: str
    benchmark: str
    stage: Stage
    """That of the verdicts."""
    answers: list[Answer]
    verdicts: list[Verdict]
    panelist: str = ""
    """The judge's name, where it is one of a panel."""

    @property
    def by_model(self) -> bool:
        """Whether a model was asked, not a program."""
        return "program" not in self.stage.params["judge"]

    @property
    def calls(self) -> list[Call]:
        """Each call of a model: an answer that is not there needed no call."""
        replies = (v.reply for v in self.verdicts if self.by_model and v.reply.status != "missing")
        return [(reply.prompt_tokens + reply.completion_tokens, reply.price_usd) for reply in replies]


def read_judged(cell: str, benchmark: str, stages: JudgedStages, store: Store, panelist: str = "") -> Judged:
    """Read what is there; lists of stages that are not finished are empty."""
    answers = answer.read(store.path(stages.answers.id)) if store.has(stages.answers.id) else []
    verdicts = judge.read_verdicts(store.path(stages.verdicts.id)) if store.has(stages.verdicts.id) else []
    return Judged(cell, benchmark, stages.verdicts, answers, verdicts, panelist)
