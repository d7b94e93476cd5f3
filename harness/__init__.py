"""An evaluation-first harness for distillation ablations. `docs/python.md` shows these names in use."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api.opened import Comparisons, Run, list_runs, open_run
    from harness.api.recipes import Forecast, load_recipe, plan_recipe
    from harness.api.rehearsal import Rehearsal, rehearse_recipe
    from harness.api.runs import Ray, StagesFailed, rank_teachers, run_recipe
    from harness.bench.alpaca_eval import score_files as score_alpaca_eval
    from harness.bench.arena_hard import score_files as score_arena_hard
    from harness.bench.mt_bench import score_files as score_mt_bench
    from harness.core.errors import HarnessError
    from harness.recipe.load import Recipe

__all__ = [
    "Comparisons",
    "Forecast",
    "HarnessError",
    "Ray",
    "Recipe",
    "Rehearsal",
    "Run",
    "StagesFailed",
    "list_runs",
    "load_recipe",
    "open_run",
    "plan_recipe",
    "rank_teachers",
    "rehearse_recipe",
    "run_recipe",
    "score_alpaca_eval",
    "score_arena_hard",
    "score_mt_bench",
]
__version__ = "0.1.0"

_PLACES = {
    "Comparisons": "harness.api.opened",
    "Forecast": "harness.api.recipes",
    "HarnessError": "harness.core.errors",
    "Ray": "harness.api.runs",
    "Recipe": "harness.recipe.load",
    "Rehearsal": "harness.api.rehearsal",
    "Run": "harness.api.opened",
    "StagesFailed": "harness.api.runs",
    "list_runs": "harness.api.opened",
    "load_recipe": "harness.api.recipes",
    "open_run": "harness.api.opened",
    "plan_recipe": "harness.api.recipes",
    "rank_teachers": "harness.api.runs",
    "rehearse_recipe": "harness.api.rehearsal",
    "run_recipe": "harness.api.runs",
    "score_alpaca_eval": "harness.bench.alpaca_eval:score_files",
    "score_arena_hard": "harness.bench.arena_hard:score_files",
    "score_mt_bench": "harness.bench.mt_bench:score_files",
}
"""Name -> its module, and its name there where that is another."""


def __getattr__(name: str) -> Any:
    """A name when it is first asked for, so that `import harness` loads none of what a run needs."""
    if name not in _PLACES:
        raise AttributeError(f"module 'harness' has no attribute '{name}'")
    module, _, other = _PLACES[name].partition(":")
    return getattr(importlib.import_module(module), other or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
