"""The finished training steps of a run: what each used, its mix of domains, its curves."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.core.canonical import Json
from harness.core.lines import read_lines
from harness.plan.build import Plan
from harness.record.run import MixRecord, PartCounts, TrainingRecord, typed
from harness.store.store import Store

_GENERAL = "general"


@dataclass(frozen=True)
class Trained:
    """A finished training step of a cell."""

    cell: str
    step: str
    """Its number and name: `2 dae`."""
    title: str
    folder: Path
    record: TrainingRecord
    skipped: dict[str, int]
    """Rows that were left out, by reason."""


def trainings(plan: Plan, store: Store) -> list[Trained]:
    """Every cell's finished training steps; the training.json of steps that cells share is read once."""
    summaries: dict[str, dict[str, Json]] = {}
    found = []
    for cell in plan.cells:
        for number, trained in enumerate(cell.trained, 1):
            stage = trained.stage
            if not store.has(stage.id):
                continue
            path = store.path(stage.id) / "training.json"
            if stage.id not in summaries:
                summaries[stage.id] = json.loads(path.read_text())
            summary, step = summaries[stage.id], f"{number} {stage.params['step']}"
            row = summary | {"cell": cell.name, "step": step, "skipped": sum(summary["skipped"].values())}
            record = typed(TrainingRecord, row, str(path))
            found.append(Trained(cell.name, step, stage.title, path.parent, record, summary["skipped"]))
    return found


def curves(trained: Sequence[Trained]) -> list[pd.DataFrame]:
    """The steps of each training, a row per step and metric; a command keeps none."""
    logs = ((t, t.folder / "log.jsonl") for t in trained)
    return [_curve(path).assign(cell=t.cell, step_name=t.step) for t, path in logs if path.exists()]


def _curve(path: Path) -> pd.DataFrame:
    rows = pd.DataFrame(list(read_lines(path)))
    melted = rows.melt(id_vars=["step", "tokens"], var_name="metric").astype({"value": "float64"})
    return melted.dropna(subset="value")  # a part of the loss that a step has not


def mixes(trained: Sequence[Trained]) -> list[MixRecord]:
    """What each training on a mix learned from: a row per part, the general part first."""
    return [row for t in trained if t.record.domains for row in _mix(t, t.record.domains)]


def _mix(trained: Trained, parts: Mapping[str, PartCounts]) -> list[MixRecord]:
    rows, tokens = (sum(getattr(part, name) for part in parts.values()) for name in ("rows", "response_tokens"))
    return [
        MixRecord(
            trained.cell,
            trained.step,
            domain,
            part.response_tokens,
            part.rows,
            share=part.rows / rows,
            token_share=part.response_tokens / tokens,
        )
        for domain, part in sorted(parts.items(), key=lambda named: named[0] != _GENERAL)
    ]
