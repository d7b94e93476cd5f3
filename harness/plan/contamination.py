"""Which benchmark prompts are in the data that a recipe's models were trained on."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from harness.core.canonical import Json
from harness.data.contamination import LEAKED
from harness.plan.memo import Memo
from harness.stages import benchmark as glue
from harness.stages import contamination
from harness.stages.api import Stage
from harness.store.store import Store

if TYPE_CHECKING:
    from harness.plan.build import Plan


def checks(model: Stage, asked: Iterable[glue.Asked], memo: Memo) -> tuple[Stage, ...]:
    """One stage per (dataset, judged benchmark), each once.

    A dataset counts where `model` was trained on it, or a model it was made from or taught by. A benchmark that is
    measured on the model itself has no prompts of ours to look for.
    """
    learned = [given.inputs["data"] for given in model.walk() if given.kind == "train"]
    found = (memo(contamination.stage, data, bench) for bench in asked if bench.form is not None for data in learned)
    return tuple({check.id: check for check in found}.values())


def rows(plan: "Plan", store: Store) -> list[dict[str, Json]]:
    """One row per finished check: what `stages.contamination.read` says, its dataset, and the cells it touches."""
    cells: dict[str, list[str]] = {}
    for cell in plan.cells:
        for check in cell.checks:
            cells.setdefault(check.id, []).append(cell.name)
    return [
        {"dataset": named(plan.stages[check].inputs["dataset"])}
        | contamination.read(store.path(check))
        | {"cells": names}
        for check, names in cells.items()
        if store.has(check)
    ]


def named(dataset: Stage) -> str:
    """Its title, with its file's name where it is read from one."""
    file = dataset.inputs.get("file")
    return f"{dataset.title} ({file.title})" if file is not None else dataset.title


def warnings(found: Sequence[dict[str, Json]]) -> list[str]:
    """A line for each dataset that holds prompts of a benchmark."""
    return [
        f"{row['benchmark']}: of its {row['prompts']} prompts {row['exact']} occur word for word in {row['dataset']}, "
        f"{row['ngram']} by {LEAKED:.0%} or more of their {row['n']}-grams (prompt {row['examples'][0]['prompt']} in "
        f"row {row['examples'][0]['row']}). Scores of models that learned from it may be too high."
        for row in found
        if row["exact"] or row["ngram"]
    ]
