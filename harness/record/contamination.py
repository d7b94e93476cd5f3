"""Which benchmark prompts are in the data that a recipe's models were trained on."""

from collections.abc import Sequence

from harness.core.canonical import Json
from harness.data.contamination import LEAKED, Overlap
from harness.plan.build import Plan
from harness.record.run import ContaminationRecord
from harness.stages import contamination
from harness.stages.api import Stage
from harness.store.store import Store


def rows(plan: Plan, store: Store) -> list[ContaminationRecord]:
    """One row per finished check, with the cells that it touches."""
    cells: dict[str, list[str]] = {}
    for cell in plan.cells:
        for check in cell.checks:
            cells.setdefault(check.id, []).append(cell.name)
    return [
        _row(named(plan.stages[check].inputs["dataset"]), contamination.read(store.path(check)), names)
        for check, names in cells.items()
        if store.has(check)
    ]


def _row(dataset: str, checked: dict[str, Json], cells: Sequence[str]) -> ContaminationRecord:
    examples = tuple(Overlap(**example) for example in checked["examples"])
    return ContaminationRecord(**checked | {"dataset": dataset, "examples": examples, "cells": tuple(cells)})


def named(dataset: Stage) -> str:
    """Its title, with its file's name where it is read from one."""
    file = dataset.inputs.get("file")
    return f"{dataset.title} ({file.title})" if file is not None else dataset.title


def warnings(rows: Sequence[ContaminationRecord]) -> list[str]:
    """A line for each dataset that holds prompts of a benchmark."""
    return [
        f"{row.benchmark}: of its {row.prompts} prompts {row.exact} occur word for word in {row.dataset}, "
        f"{row.ngram} by {LEAKED:.0%} or more of their {row.n}-grams (prompt {row.examples[0].prompt} in "
        f"row {row.examples[0].row}). Scores of models that learned from it may be too high."
        for row in rows
        if row.exact or row.ngram
    ]
