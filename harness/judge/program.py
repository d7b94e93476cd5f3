"""A program as a judge: it computes the truth, and nobody is asked."""

from collections.abc import Sequence

from harness.judge.api import JudgeTask, Program, Verdict
from harness.store.ledger import Reply


def run_program(program: Program, tasks: Sequence[JudgeTask], *, model: str) -> list[Verdict]:
    """One verdict per task, in their order; a ValueError is an unparseable verdict with its reason.

    `model` is the judge's name in the verdicts, e.g. `program:pocket`.
    """
    return [_verdict(program, task, model) for task in tasks]


def _verdict(program: Program, task: JudgeTask, model: str) -> Verdict:
    try:
        value, text = program(task.evidence)
    except ValueError as error:
        return Verdict(task, Reply("unparseable", text=str(error), model=model))
    return Verdict(task, Reply("ok", value, text, model))
