"""`harness plan`."""

import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.cli._options import RESULTS, Format, RecipeFile, Results, Sets

if TYPE_CHECKING:
    from harness.plan.build import Plan
    from harness.plan.estimate import Estimate


def plan(recipe: RecipeFile, set_: Sets = None, results: Results = RESULTS, format_: Format = "table") -> None:
    """Show what a run would do: stages (unique, shared, done already), judge calls and their price. Runs nothing.

    `usd at most` is what --max-cost must be to be enough for certain. What a judge would cost whose price is not known
    is left empty. Nothing is downloaded: what is not here is planned by its name, and said.

    Example: harness plan recipes/quickstart.yaml
    """
    import pandas as pd

    from harness.cli._output import emit
    from harness.plan.build import build
    from harness.plan.estimate import estimate, in_words
    from harness.plan.generation import engines
    from harness.plan.generation import in_words as engines_in_words
    from harness.plan.needs import graph, to_build
    from harness.recipe.load import load
    from harness.stages.pinned import absent_allowed
    from harness.store.store import Store

    with absent_allowed() as absent:
        built = build(load(recipe, set_ or []))
    store = Store(results / "store")
    unique = Counter(s.kind for s in built.stages.values())
    missing = to_build(graph(built.stages), store)
    done = Counter(s.kind for i, s in built.stages.items() if i not in missing)
    judges = estimate(built, store)
    kinds = {row.asked.digest: {built.stages[i].kind for i in row.stages}.pop() for row in judges}
    rows = []
    for kind, count in unique.items():
        own = [row for row in judges if kinds[row.asked.digest] == kind]
        stages = {"stage": kind, "asked": built.asked[kind], "unique": count, "done": done[kind]}
        rows.append(stages | {"to run": count - done[kind]} | _asked(own))
    total = {"stage": "total"} | {c: sum(r[c] for r in rows) for c in ("asked", "unique", "done", "to run")}  # type: ignore[misc]
    emit(pd.DataFrame([*rows, total | _asked(judges)]), format_)
    for line in [*built.left_out, *engines_in_words(engines(built)), *in_words(judges), *_missing(built, list(absent))]:
        print(line, file=sys.stderr)


def _missing(built: "Plan", absent: list[str]) -> list[str]:
    """What is not here, and what is not known for that."""
    if not absent:
        return []
    from harness.plan.estimate import unknown

    names = dict.fromkeys(e.benchmark for _, e, judged in built.judged if unknown(judged))
    lines = ["not here, so planned by name and not pinned; what stands on it counts as to run, and a run needs it:"]
    lines += [f"  {name}" for name in absent]
    return [*lines, *(f"{name}: its questions are not here, so its judge calls are not counted" for name in names)]


def _asked(judges: "Sequence[Estimate]") -> dict[str, float | None]:
    """What these judges are still to be asked; a sum of USD is None where a price is not known."""
    usd = [row.usd for row in judges if row.verdicts]
    most = [row.most_usd for row in judges if row.verdicts]
    return {
        "judge calls": sum(row.calls for row in judges),
        "prompt tokens": sum(row.prompt_tokens for row in judges),
        "reply tokens": sum(row.completion_tokens for row in judges),
        "usd": _sum(usd),
        "usd at most": _sum(most),
    }


def _sum(usd: "Sequence[float | None]") -> float | None:
    known = [value for value in usd if value is not None]
    return round(sum(known), 4) if len(known) == len(usd) else None
