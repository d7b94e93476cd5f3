"""What each cell of a run cost: seconds of the stages it stands on, judge calls, their tokens and price."""

from collections import defaultdict

from harness.core.canonical import Json
from harness.plan.build import Plan, PlannedCell
from harness.record.determinism import Provenances
from harness.stages import judge
from harness.store.store import Store


def costs(plan: Plan, store: Store, made: Provenances) -> list[dict[str, Json]]:
    """One row per cell: `seconds` by kind of stage, whichever run did them, and its model judges' calls.

    A stage that cells share counts for each of them. `price_usd` is null where no call's price is known.
    """
    rows = []
    for cell in plan.cells:
        taken: defaultdict[str, float] = defaultdict(float)
        stages = {s.id: s.kind for end in cell.ends for s in end.walk() if not s.is_leaf}
        for stage, kind in stages.items():
            taken[kind] += made[stage]["seconds"] if stage in made else 0.0
        times = {kind: round(time, 3) for kind, time in taken.items()}
        rows.append({"cell": cell.name, "seconds": times} | _judging(cell, store))
    return rows


def _judging(cell: PlannedCell, store: Store) -> dict[str, Json]:
    """Calls of model judges (an answer that is not there is none), their tokens, and dollars where prices are known."""
    stages = [e.judged.verdicts for e in cell.evaluated if e.judged is not None]
    asked = [s for s in stages if "program" not in s.params["judge"] and store.has(s.id)]
    calls = [v for s in asked for v in judge.read_verdicts(store.path(s.id)) if v.reply.status != "missing"]
    prices = [v.reply.price_usd for v in calls if v.reply.price_usd is not None]
    return {
        "judge_calls": len(calls),
        "judge_tokens": sum(v.reply.prompt_tokens + v.reply.completion_tokens for v in calls),
        "price_usd": sum(prices) if prices else None,
    }
