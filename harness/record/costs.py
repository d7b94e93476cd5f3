"""What each cell of a run cost: seconds of the stages it stands on, judge calls, their tokens and price."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from harness.plan.build import Plan
from harness.record.determinism import Provenances
from harness.record.judged import Call
from harness.record.run import CostRecord


def costs(plan: Plan, calls: Mapping[str, Sequence[Call]], made: Provenances) -> list[CostRecord]:
    """One row per cell: seconds by kind of stage, whichever run did them, and its calls of model judges, by cell.

    A stage that cells share counts for each of them.
    """
    rows = []
    for cell in plan.cells:
        taken: defaultdict[str, float] = defaultdict(float)
        stages = {s.id: s.kind for end in cell.ends for s in end.walk() if not s.is_leaf}
        for stage, kind in stages.items():
            taken[kind] += made[stage]["seconds"] if stage in made else 0.0
        seconds = {kind: round(time, 3) for kind, time in taken.items()}
        asked = calls.get(cell.name, ())
        prices = [price for _, price in asked if price is not None]
        tokens = sum(tokens for tokens, _ in asked)
        rows.append(CostRecord(cell.name, seconds, len(asked), tokens, sum(prices) if prices else None))
    return rows
