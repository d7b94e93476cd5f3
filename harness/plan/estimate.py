"""What a plan will ask of judges."""

from collections import Counter

from harness.core.canonical import digest
from harness.plan.build import Evaluated, Plan
from harness.stages import benchmark as glue
from harness.store.store import Store


def judge_calls(plan: Plan, store: Store) -> Counter[str]:
    """Upper bound of the judge calls by stage kind: one per turn of every question not judged yet.

    Calls that the ledger holds from another run are not asked again, so the true number can be lower.
    """
    turns: dict[str, int] = {}
    calls: Counter[str] = Counter()
    for evaluated in {e.verdicts.id: e for cell in plan.cells for e in cell.evaluated}.values():
        if glue.by_name(evaluated.benchmark).program is None and not store.has(evaluated.verdicts.id):
            key = digest(evaluated.answers.identity["params"])
            turns[key] = turns[key] if key in turns else _turns(evaluated)
            calls[evaluated.verdicts.kind] += turns[key]
    return calls


def _turns(evaluated: Evaluated) -> int:
    return sum(len(q.turns) for q in glue.questions_of(evaluated.answers))
