"""What cells cost: shared stages count for each, programs are no calls, unknown prices are not nothing."""

from types import SimpleNamespace
from typing import Any, cast

from harness.judge.api import JudgeTask, Verdict
from harness.plan.build import Plan
from harness.record.costs import costs
from harness.record.judged import Judged
from harness.record.run import CostRecord
from harness.stages.api import Stage
from harness.store.ledger import Reply

REPLIES = [
    Reply("ok", 7.0, "[[7]]", prompt_tokens=100, completion_tokens=10, price_usd=0.25),
    Reply("unparseable", None, "?", prompt_tokens=100, completion_tokens=10, price_usd=None),
    Reply("missing", None, "no answer"),
]
VERDICTS = [Verdict(JudgeTask(str(number), 1), reply) for number, reply in enumerate(REPLIES)]


def a_cell(name: str, *, program: bool = False) -> Any:
    trained = Stage("train", 1, {"same": "for all"}, {}, title="train")
    verdicts = Stage(
        "judge", 1, {"judge": {"program": 1} if program else {"form": "rating"}}, {"model": trained}, title=name
    )
    return SimpleNamespace(name=name, ends=[verdicts])


def told(*cells: Any, ran: bool = True) -> list[CostRecord]:
    made = {s.id: {"seconds": 1.5} for cell in cells for end in cell.ends for s in end.walk() if ran}
    verdicts = VERDICTS if ran else []
    calls = {cell.name: Judged(cell.name, "b", cell.ends[0], [], verdicts).calls for cell in cells}
    return costs(cast(Plan, SimpleNamespace(cells=cells)), calls, made)


def test_calls_tokens_and_price_are_those_of_model_judges() -> None:
    asked, checked = told(a_cell("asked"), a_cell("checked", program=True))
    assert asked == CostRecord("asked", {"train": 1.5, "judge": 1.5}, judge_calls=2, judge_tokens=220, price_usd=0.25)
    assert checked.seconds == asked.seconds, "the shared training counts for each"
    assert (checked.judge_calls, checked.price_usd) == (0, None)


def test_what_has_not_run_took_no_time_and_no_calls() -> None:
    (row,) = told(a_cell("failed"), ran=False)
    assert row.seconds == {"train": 0.0, "judge": 0.0}
    assert row.judge_calls == 0
