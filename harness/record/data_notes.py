"""What a reader must know of the data files of a run: rows that were skipped, columns that were not used."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.bench.held_out import DATA
from harness.core.canonical import Json
from harness.data.columns import in_words
from harness.plan.build import Plan
from harness.record.contamination import named
from harness.stages import dataset, measure
from harness.stages.api import Stage
from harness.store.store import Store


def data_notes(plan: Plan, store: Store) -> list[str]:
    """A line for each thing to be known, each once: of datasets, and of the sets of held-out likelihoods."""
    lines = (
        f"{name}: {line}"
        for i, stage in plan.stages.items()
        if store.has(i)
        for name, record in _records(stage, store.path(i))
        for line in in_words(record)
    )
    return list(dict.fromkeys(lines))


def _records(stage: Stage, folder: Path) -> Iterator[tuple[str, Mapping[str, Json]]]:
    """What the stage read, by the name that a reader knows it by."""
    if stage.kind == dataset.KIND.name:
        yield named(stage), json.loads((folder / dataset.RECORD).read_text())
    elif stage.kind == measure.KIND.name and (folder / measure.FILES / DATA).exists():
        for name, record in json.loads((folder / measure.FILES / DATA).read_text()).items():
            yield f"{stage.params['benchmark']}, set '{name}'", record
