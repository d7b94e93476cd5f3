"""`harness plan`."""

from collections import Counter

from harness.cli._options import RESULTS, Format, RecipeFile, Results, Sets


def plan(recipe: RecipeFile, set_: Sets = None, results: Results = RESULTS, format_: Format = "table") -> None:
    """Show what a run would do: cells, stages (unique, shared, done already), judge calls. Runs nothing.

    Example: harness plan recipes/quickstart.yaml
    """
    import pandas as pd

    from harness.cli._output import emit
    from harness.plan.build import build
    from harness.plan.estimate import judge_calls
    from harness.recipe.load import load
    from harness.store.store import Store

    built = build(load(recipe, set_ or []))
    store = Store(results / "store")
    unique = Counter(s.kind for s in built.stages.values())
    done = Counter(s.kind for i, s in built.stages.items() if store.has(i))
    calls = judge_calls(built, store)
    rows = [
        {
            "stage": k,
            "asked": built.asked[k],
            "unique": n,
            "done": done[k],
            "to run": n - done[k],
            "judge calls": calls[k],
        }
        for k, n in unique.items()
    ]
    total = {"stage": "total"} | {c: sum(r[c] for r in rows) for c in rows[0] if c != "stage"}  # type: ignore[misc]
    emit(pd.DataFrame([*rows, total]), format_)
