"""A program as a judge: the truth is computed, not asked for."""

from collections.abc import Sequence

from harness.judge.api import JudgeTask, Program, Status, Verdict


def run_program(program: Program, tasks: Sequence[JudgeTask], *, model: str) -> list[Verdict]:
    """One verdict per task, in their order; a ValueError is an unparseable verdict with its reason.

    `model` is what the verdicts say judged them, e.g. `program:pocket`.
    """
    return [_verdict(program, task, model) for task in tasks]


def _verdict(program: Program, task: JudgeTask, model: str) -> Verdict:
    status: Status = "ok"
    try:
        value, text = program(task.evidence)
    except ValueError as error:
        status, value, text = "unparseable", None, str(error)
    return Verdict.about(task, status=status, value=value, text=text, model=model)
