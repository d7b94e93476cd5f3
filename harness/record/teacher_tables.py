"""What a run's teacher scores are made from, as plain files: the ingredients, and who taught whom."""

import json

import pandas as pd

from harness.core.lines import write_atomically
from harness.models.inventory import parameters
from harness.plan.build import Plan, PlannedCell
from harness.record.folder import RunFolder
from harness.stages import score_teacher
from harness.store.store import Store
from harness.teachers.settings import About, TeachersSettings

Pairs = dict[tuple[str, str], list[PlannedCell]]
"""(student base, teacher) -> the swept cells in which the one learnt from the other."""


def write_teachers(folder: RunFolder, plan: Plan, store: Store) -> None:
    """Write teacher_parts.parquet (finished stages only) and teachers.json, where the recipe has teacher scores."""
    pairs: Pairs = {}
    for cell in plan.cells:
        if cell.teacher is not None:
            pairs.setdefault((cell.teacher.student, cell.teacher.teacher), []).append(cell)
    settings = next((cell.cell.settings.teachers for cell in plan.cells if cell.teacher is not None), None)
    if settings is None:
        return
    _parts(pairs, store).to_parquet(folder.path / "teacher_parts.parquet", index=False)
    record = {
        "settings": settings.model_dump(mode="json"),
        "pairs": [{"student": s, "teacher": t, "cells": [c.name for c in cells]} for (s, t), cells in pairs.items()],
        "about": _about(plan, pairs, settings, store),
        "left_out": list(plan.left_out),
    }
    write_atomically(folder.path / "teachers.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _parts(pairs: Pairs, store: Store) -> pd.DataFrame:
    frames = []
    for (student, teacher), cells in pairs.items():
        scored = cells[0].teacher
        if scored is not None and store.has(scored.stage.id):
            frame = score_teacher.read(store.path(scored.stage.id))
            frame.insert(0, "student", student)
            frame.insert(1, "teacher", teacher)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["student", "teacher", "id"])


def _about(plan: Plan, pairs: Pairs, settings: TeachersSettings, store: Store) -> list[dict[str, object]]:
    """A row per teacher: what the recipe says of it, its size, and the baseline row that shows its own strength."""
    baselines = {c.cell.labels.get("teacher"): c.name for c in plan.cells if c.cell.baseline == "teacher"}
    rows = []
    for teacher, cell in {teacher: cells[0] for (_, teacher), cells in pairs.items()}.items():
        known = settings.about.get(teacher, About())
        size = known.size_b if known.size_b is not None else _size(cell, store)
        found = {"teacher": teacher, "size_b": size, "baseline": baselines.get(teacher)}
        rows.append(known.model_dump() | found | {"response_seconds": _response_seconds(cell, store)})
    return rows


def _response_seconds(cell: PlannedCell, store: Store) -> float | None:
    """What it took to have the teacher answer; None where its answers were recorded elsewhere."""
    assert cell.teacher is not None, "asked for cells with a scored teacher"
    stages = [s for s in cell.teacher.stage.walk() if s.kind in ("respond", "pick") and store.has(s.id)]
    return sum(store.record(s.id)["provenance"]["seconds"] for s in stages) if stages else None


def _size(cell: PlannedCell, store: Store) -> float | None:
    """Billions of parameters of a teacher whose weights are here."""
    weights = cell.teacher.weights if cell.teacher is not None else None
    if weights is None:
        return None
    stage = weights.stage
    noted = {} if stage.is_leaf or not store.has(stage.id) else store.record(stage.id).get("parameters", {})
    if weights.part in noted:  # its weights were evicted
        return float(noted[weights.part]) / 1e9
    folder = (stage.path or store.path(stage.id)) / weights.part
    return parameters(folder) / 1e9 if folder.exists() else None
