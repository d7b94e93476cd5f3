"""run.json: what a run was and did."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from harness.core.canonical import Json
from harness.core.lines import write_atomically
from harness.plan.build import Plan, PlannedCell
from harness.record import contamination
from harness.record.folder import RunFolder, as_text
from harness.store.provenance import command, provenance
from harness.store.store import Store


def write_record(
    folder: RunFolder, plan: Plan, store: Store, executed: int, failed: Mapping[str, str], facts: Mapping[str, Json]
) -> None:
    """Write run.json: the sweep, where and how it ran, what failed, what its stages took (whichever run did them).

    `executed` counts the stages that this run did; `failed` holds each failed stage's message by its id.
    """
    cells = [
        {
            "cell": cell.name,
            "labels": cell.cell.labels,
            "baseline": cell.cell.baseline is not None,
            "failed": _failure(cell, failed),
        }
        for cell in plan.cells
    ]
    asked = {"asked": plan.asked.total(), "unique": len(plan.stages), "executed": executed}
    seconds = sum(store.record(i)["provenance"]["seconds"] for i in plan.stages if store.has(i))
    record = {
        "name": plan.recipe.name,
        "description": plan.recipe.description,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command(),
        **provenance(),
        "axes": plan.recipe.axes,
        "cells": cells,
        "stages": asked | {"seconds": round(seconds, 1)},
        **facts,
    }
    write_atomically(folder.record, as_text(record))


def _failure(cell: PlannedCell, failed: Mapping[str, str]) -> str | None:
    """The first failure among the stages a cell stands on."""
    for evaluated in cell.evaluated:
        for stage in evaluated.score.walk():
            if stage.id in failed:
                return f"{stage.title}: {failed[stage.id]}"
    return None


def says_of_judges(folder: RunFolder, judges: Json) -> bool:
    """Whether run.json says of the judges what is known now: a calibration may have come since."""
    return folder.record.exists() and json.loads(folder.record.read_text()).get("judges") == judges


def warnings(folder: RunFolder) -> list[str]:
    """What run.json warns of, and each dataset that it found prompts of a benchmark in."""
    record = json.loads(folder.record.read_text())
    return [*record["warnings"], *contamination.warnings(record["contamination"])]
