"""What is worth knowing of a run's judging: answers that look like verdicts, verdicts that differ when asked again."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from harness.core.canonical import Json
from harness.judge.api import Verdict
from harness.judge.injection import holds_verdict
from harness.plan.build import Plan
from harness.stages import answer, judge
from harness.store.store import Store

_NAMED = 5
"""Cells that a warning names."""


def judging(plan: Plan, store: Store) -> list[Json]:
    """One row per judged (cell, benchmark): answers, those that hold a verdict pattern, the spread between repeats."""
    rows = []
    for cell, evaluated, judged in plan.judged:
        if "program" in judged.verdicts.params["judge"] or not store.has(judged.verdicts.id):
            continue
        answers = [t for a in answer.read(store.path(judged.answers.id)) for t in a.turns if t is not None]
        verdicts = judge.read_verdicts(store.path(judged.verdicts.id))
        row = {"cell": cell.name, "benchmark": evaluated.benchmark, "answers": len(answers)}
        rows.append(row | {"with_verdict_pattern": sum(map(holds_verdict, answers))} | repeat_spread(verdicts))
    return rows


def repeat_spread(verdicts: Sequence[Verdict]) -> dict[str, Json]:
    """How much verdicts on the same answer differ: `repeats`, and `repeat_sd`, the square root of the mean variance.

    The variance (ddof 1) is that of one answer's verdicts, averaged over the answers that have two or more; None where
    there is none.
    """
    values: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.value is not None:
            values[verdict.item, verdict.turn, verdict.variant].append(verdict.value)
    variances = [np.var(own, ddof=1) for own in values.values() if len(own) > 1]
    return {
        "repeats": 1 + max((verdict.repeat for verdict in verdicts), default=0),
        "repeat_sd": round(float(np.sqrt(np.mean(variances))), 4) if variances else None,
    }


def warnings(rows: Sequence[Json]) -> list[str]:
    """What a reader of the report should know of them."""
    found = []
    for benchmark in dict.fromkeys(row["benchmark"] for row in rows):
        own = [row for row in rows if row["benchmark"] == benchmark]
        if some := [row for row in own if row["with_verdict_pattern"]]:
            cells = "; ".join(f"{r['cell']} ({r['with_verdict_pattern']} of {r['answers']})" for r in some[:_NAMED])
            more = f" and {len(some) - _NAMED} other cells" if len(some) > _NAMED else ""
            count = sum(row["with_verdict_pattern"] for row in some)
            found.append(
                f"{benchmark}: {count} answer{'s' * (count != 1)} contain{'s' * (count == 1)} a rating pattern such as "
                f"[[7]] or [[A]], which a judge may repeat as its verdict: {cells}{more}."
            )
        if spread := [row["repeat_sd"] for row in own if row["repeat_sd"] is not None]:
            found.append(
                f"{benchmark}: asked {own[0]['repeats']} times about the same answer, the judge's verdicts have a "
                f"standard deviation of {np.sqrt(np.mean(np.square(spread))):.2f}."
            )
    return found
