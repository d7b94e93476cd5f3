"""Recipes: loaded, and planned without running anything."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from harness.api.stored import with_models_of_runs
from harness.core.absent import absent_allowed
from harness.core.canonical import Json
from harness.core.plugins import plugged
from harness.plan.build import Plan, build
from harness.plan.estimate import Estimate, estimate, in_words
from harness.plan.generation import engines
from harness.plan.generation import in_words as engines_in_words
from harness.plan.judges import forecast
from harness.plan.needs import graph, to_build
from harness.plan.prospect import Prospect, prospect
from harness.plan.prospect import in_words as prospect_in_words
from harness.plan.timing import Timing
from harness.recipe.load import Recipe, load
from harness.stages.api import Stage
from harness.store.store import Store

Overrides = Mapping[str, Json] | Sequence[str]
"""Settings in place of the recipe's: {"train.0.sft.epochs": 2}, or ["train.0.sft.epochs=2"] as `--set` has them."""


def load_recipe(
    source: str | Path | Mapping[str, Json], overrides: Overrides = (), plugins: Sequence[str | Path] = ()
) -> Recipe:
    """Load a recipe, a YAML file or the same as a dictionary, and check all of its cells; no data file is read.

    `plugins` are Python files that export a benchmark, a training step, a teacher score, a form of verdict or an engine
    (docs/extensions.md); what runs the recipe has them too.

    >>> recipe = load_recipe({
    ...     "name": "untrained",
    ...     "student": "pocket:llama?layers=1&width=16&heads=2",
    ...     "evaluate": [{"pocket": {}}],
    ... }, {"evaluate.0.pocket.questions": 8})
    >>> recipe.summary
    'ok, 1 cell'

    Raises:
        RecipeError: the recipe has faults; its `faults` are all of them, each with its place, key and remedy.
        HarnessError: a plug-in cannot be loaded.
    """
    if isinstance(overrides, Mapping):
        overrides = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in overrides.items()]
    with plugged([Path(file) for file in plugins]) as files:
        recipe = load(source if isinstance(source, Mapping) else Path(source), overrides)
    return replace(recipe, plugins=files)


def results_folder(results: str | Path | None) -> Path:
    """The folder of store and runs: as given, else the environment's HARNESS_RESULTS, else `results`."""
    return Path(results or os.environ.get("HARNESS_RESULTS") or "results")


@dataclass(frozen=True)
class Forecast:
    """What a run of a recipe would do."""

    plan: Plan
    to_run: Mapping[str, Stage]
    """The stages that are not done yet, by id."""
    prospect: Prospect
    """Memory, time, GPU-hours and gigabytes."""
    judges: Sequence[Estimate]
    """What each judge is still to be asked, and what that costs."""
    absent: Sequence[str]
    """Models and files that are not here: planned by their names, and a run needs them."""
    notes: Sequence[str]
    """What is to be known before it runs: what is left out, which engine answers, what judges will cost, and which of
    them cannot be asked."""

    @property
    def timing(self) -> Timing:
        """How long the stages that are left will take."""
        return self.prospect.timing

    @cached_property
    def stages(self) -> pd.DataFrame:
        """A row per kind of stage and their total: asked by the cells, unique, done, to run; judge calls and USD.

        USD are null where a judge's price is not known.
        """
        unique, left = (Counter(s.kind for s in stages.values()) for stages in (self.plan.stages, self.to_run))
        kinds = {row.asked.digest: {self.plan.stages[i].kind for i in row.stages}.pop() for row in self.judges}
        rows: list[dict[str, Json]] = []
        for kind, count in unique.items():
            stages = {"stage": kind, "asked": self.plan.asked[kind], "unique": count, "done": count - left[kind]}
            asked = _asked(row for row in self.judges if kinds[row.asked.digest] == kind)
            rows.append(stages | {"to run": left[kind]} | asked)
        total = {"stage": "total"} | {c: sum(r[c] for r in rows) for c in ("asked", "unique", "done", "to run")}
        return pd.DataFrame([*rows, total | _asked(self.judges)])

    @property
    def usd(self) -> float | None:
        """What judges are expected to cost; None where a price is not known."""
        return _sum(row.usd for row in self.judges if row.verdicts)

    def seconds(self, jobs: int = 1) -> float:
        """What a run with so many processes is expected to take; at least that where `timing.unknown` has kinds."""
        return self.timing.seconds(jobs)


def plan_recipe(recipe: Recipe, *, results: str | Path | None = None, only: str = "*") -> Forecast:
    """Forecast a run of the cells whose name matches the glob `only`: stages, judge calls, price, time. Runs nothing,
    and asks each judge's endpoint for the list of its models; without a network the notes say that it could not.

    >>> recipe = load_recipe({
    ...     "name": "untrained",
    ...     "student": "pocket:llama?layers=1&width=16&heads=2",
    ...     "evaluate": [{"pocket": {"questions": 8}}],
    ... })
    >>> forecast = plan_recipe(recipe)
    >>> forecast.stages.set_index("stage")["unique"].to_dict()
    {'pocket_model': 1, 'answer': 1, 'judge': 1, 'score': 1, 'total': 4}
    >>> forecast.usd
    0

    Raises:
        HarnessError: no cell matches; a stage cannot be planned.
    """
    place = results_folder(results)
    store = Store(place / "store")
    with plugged(recipe.plugins):
        recipe = with_models_of_runs(recipe, place)
        with absent_allowed() as absent:
            plan = build(recipe, only=only)
        judges = estimate(plan, store)
        missing = to_build(graph(plan.stages), store)
        to_run = {i: stage for i, stage in plan.stages.items() if i in missing}
        seen = prospect(plan, to_run, store, place)
        said = [*prospect_in_words(seen), *notes(plan, judges), *forecast(to_run.values(), judges)]
    return Forecast(plan, to_run, seen, judges, list(absent), said)


def notes(plan: Plan, judges: Sequence[Estimate]) -> list[str]:
    """What is to be known of a plan before it runs."""
    return [*plan.left_out, *engines_in_words(engines(plan)), *in_words(judges)]


def _asked(judges: Iterable[Estimate]) -> dict[str, float | None]:
    """What these judges are still to be asked."""
    judges = list(judges)
    return {
        "judge calls": sum(row.calls for row in judges),
        "prompt tokens": sum(row.prompt_tokens for row in judges),
        "reply tokens": sum(row.completion_tokens for row in judges),
        "usd": _sum(row.usd for row in judges if row.verdicts),
        "usd at most": _sum(row.most_usd for row in judges if row.verdicts),
    }


def _sum(usd: Iterable[float | None]) -> float | None:
    """None where one of them is not known."""
    amounts = list(usd)
    known = [amount for amount in amounts if amount is not None]
    return round(sum(known), 4) if len(known) == len(amounts) else None
