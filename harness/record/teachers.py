"""What a run's teacher scores are made from, as plain files: the ingredients, and who taught whom."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import PlainSerializer

from harness.core.errors import HarnessError
from harness.core.lines import read_json, write_atomically
from harness.models.inventory import parameters
from harness.plan.build import Plan, PlannedCell
from harness.recipe.draws import DRAW
from harness.record.folder import RunFolder
from harness.record.run import AGAIN, as_json, as_text, typed
from harness.stages import score_teacher
from harness.store.store import Store
from harness.teachers.settings import About, TeachersSettings

PARTS, RECORD = "teacher_parts.parquet", "teachers.json"


@dataclass(frozen=True)
class TaughtPair:
    """Who learned from whom."""

    student: str
    teacher: str
    cells: tuple[str, ...]
    """The swept cells in which the student base learned from the teacher."""


@dataclass(frozen=True)
class TeacherRecord:
    """What is known of a teacher beside its responses."""

    family: str
    size_b: float | None
    """Billions of parameters."""
    strength: float | None
    """Its own published score, higher is better."""
    cost_usd: float | None
    teacher: str
    baseline: str | None
    """The cell that shows its own score in this run."""
    response_seconds: float | None
    """What it took to have it answer; None where its answers were recorded elsewhere."""


@dataclass(frozen=True)
class TeachersRecord:
    """What teachers.json holds."""

    settings: Annotated[TeachersSettings, PlainSerializer(lambda settings: settings.model_dump(mode="json"))]
    pairs: tuple[TaughtPair, ...]
    about: tuple[TeacherRecord, ...]
    left_out: tuple[str, ...]
    """What the recipe asks for and the run could not have."""


Pairs = dict[tuple[str, str], list[PlannedCell]]
"""(student base, teacher) -> the swept cells in which the one learnt from the other."""


def write_teachers(folder: RunFolder, plan: Plan, store: Store) -> None:
    """Write teacher_parts.parquet (finished stages only) and teachers.json, where the recipe has teacher scores."""
    pairs: Pairs = {}
    for cell in plan.cells:
        if cell.teacher is not None and _in_first_draw(cell):
            pairs.setdefault((cell.teacher.student, cell.teacher.teacher), []).append(cell)
    settings = next((cell.cell.settings.teachers for cell in plan.cells if cell.teacher is not None), None)
    if settings is None:
        return
    _parts(pairs, store).to_parquet(folder.path / PARTS, index=False)
    record = TeachersRecord(
        settings,
        tuple(TaughtPair(s, t, tuple(c.name for c in cells)) for (s, t), cells in pairs.items()),
        tuple(_about(plan, pairs, settings, store)),
        plan.left_out,
    )
    write_atomically(folder.path / RECORD, as_text(as_json(record)))


def read_teachers(folder: Path) -> tuple[TeachersRecord, pd.DataFrame]:
    """What `write_teachers` wrote: the record, and the ingredients with a row per response.

    Raises:
        HarnessError: the run has no teacher scores, or its files do not fit.
    """
    path = folder / RECORD
    if not path.exists():
        fix = "Give its recipe a `teachers` section (see recipes/zoo-car.yaml), then `harness teachers rank RECIPE`."
        raise HarnessError("this run has no teacher scores", where=str(folder), fix=fix)
    return typed(TeachersRecord, read_json(path, AGAIN), str(path)), pd.read_parquet(folder / PARTS)


def _in_first_draw(cell: PlannedCell) -> bool:
    """Whether the cell is of the recipe as written: a teacher's scores are of a single teacher and its own students."""
    return cell.cell.labels.get(DRAW, "0") == "0"


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


def _about(plan: Plan, pairs: Pairs, settings: TeachersSettings, store: Store) -> list[TeacherRecord]:
    """A row per teacher: what the recipe says of it, its size, and the baseline row that shows its own strength."""
    first = [cell for cell in plan.cells if _in_first_draw(cell)]
    baselines = {c.cell.labels.get("teacher"): c.name for c in first if c.cell.baseline == "teacher"}
    rows = []
    for teacher, cell in {teacher: cells[0] for (_, teacher), cells in pairs.items()}.items():
        known = settings.about.get(teacher, About())
        size = known.size_b if known.size_b is not None else _size(cell, store)
        seconds = _response_seconds(cell, store)
        rows.append(
            TeacherRecord(known.family, size, known.strength, known.cost_usd, teacher, baselines.get(teacher), seconds)
        )
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
