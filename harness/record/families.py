"""Judges of the family of a model that they rank, or of the teacher that it learned from (`judge/family.py`)."""

import json
from pathlib import Path

from harness.core.errors import HarnessError
from harness.judge.family import family_of
from harness.models.refs import parse
from harness.plan.build import Plan
from harness.recipe.load import Cell
from harness.recipe.schema import CellRecipe
from harness.record.run import SameFamilyRecord


def same_family(plan: Plan) -> tuple[SameFamilyRecord, ...]:
    """A row for each cell, benchmark and model judge (one that audits too) that are of one family."""
    rows: dict[SameFamilyRecord, None] = {}
    for planned, evaluated, judged in plan.judged:
        of = {role: family_of(*names) for role, names in _names(planned.cell).items()}
        for stage in (judged.verdicts, judged.audit):
            model = str(stage.params["judge"].get("model", "")) if stage is not None else ""
            family = family_of(*_reference(model, planned.cell.settings))
            role = next((role for role, theirs in of.items() if family is not None and theirs == family), None)
            if family is not None and role is not None:
                rows[SameFamilyRecord(planned.name, evaluated.benchmark, model, family, role)] = None
    return tuple(rows)


def _names(cell: Cell) -> dict[str, list[str]]:
    """What the models behind a cell are called: the student and, where it learned from one, the teacher."""
    settings, teacher = cell.settings, cell.settings.teacher
    of_teacher: list[str] = []
    if teacher is not None and (cell.baseline == "teacher" or (cell.baseline is None and settings.train)):
        recorded = teacher.recorded.where if teacher.recorded is not None else {}
        of_teacher = _reference(teacher.model or "", settings) + [str(value) for value in recorded.values()]
    student = [] if cell.baseline == "teacher" else _reference(settings.student.model, settings)
    return {"student": student, "teacher": of_teacher}


def _reference(text: str, settings: CellRecipe) -> list[str]:
    """The names that a model reference holds, the most telling first; the text itself where it is no reference."""
    try:
        ref = parse(text)
    except HarnessError:  # the name of a model at an endpoint
        return [text]
    if ref.scheme == "artifact":
        made = settings.models.get(ref.value)
        return _reference(made.base, settings) if made is not None else []
    if ref.scheme == "path":
        return [ref.value, *_config(Path(ref.value) / "config.json")]
    return [] if ref.scheme == "pocket" else [ref.value]


def _config(path: Path) -> list[str]:
    """What a model's folder says that it was loaded from, and the name of its architecture."""
    if not path.is_file():
        return []
    config = json.loads(path.read_text(encoding="utf-8"))
    return [str(config[key]) for key in ("_name_or_path", "model_type") if config.get(key)]
