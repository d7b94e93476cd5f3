"""The engines that generate a plan's answers, settled when the plan was made."""

import importlib.metadata

from harness.core.canonical import Json, digest
from harness.generate.engines import engine_types
from harness.plan.build import Plan
from harness.stages.api import Stage
from harness.store.store import Store


def engines(plan: Plan) -> list[Json]:
    """A row per way to generate: its identity settings, and the engine's installed `version` (null if absent).

    `auto` says that the recipe leaves the choice of the engine to this machine.
    """
    auto = any(cell.cell.settings.generate.engine == "auto" for cell in plan.cells)
    rows = [{**stage.params["generate"], "auto": auto} for stage in plan.stages.values() if _generates(stage)]
    return [row | {"version": _version(row["engine"])} for row in {digest(row): row for row in rows}.values()]


def _generates(stage: Stage) -> bool:
    return "generate" in stage.params


def _version(engine: str) -> str | None:
    for package in engine_types()[engine].packages:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def in_words(rows: list[Json]) -> list[str]:
    """A line per row."""
    return [_line(row) for row in rows]


def _line(row: Json) -> str:
    why = {"vllm": "auto: vLLM and a GPU are here", "transformers": "auto: vLLM with a GPU is not here"}
    settled = f" ({why[row['engine']]})" if row["auto"] else ""
    known = engine_types()[row["engine"]].packages
    version = f" {row['version'] or '(not installed)'}" if known else ""
    return f"answers by {row['engine']}{version} in {row['dtype']}{settled}"


def check(plan: Plan, store: Store) -> None:
    """HarnessError where an engine that is still needed is not installed: before hours of training, not after."""
    for stage_id, stage in plan.stages.items():
        if _generates(stage) and not store.has(stage_id):
            engine_types()[stage.params["generate"]["engine"]].check()
