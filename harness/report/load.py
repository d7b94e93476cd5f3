"""A run folder as typed data: the only door through which a report learns anything."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import yaml

from harness.core.errors import HarnessError, brief
from harness.record.folder import score_stages
from harness.record.profiles import ProfileRecord, read_profiles
from harness.record.run import RunRecord, read_run
from harness.record.tables import CURVES, EXPERTS, SAMPLES, SCORES, TRANSCRIPTS, read_table
from harness.report.settings import ReportSettings

SEED_AXIS = "seed"
DRAW_AXIS = "draw"
REPLICATES = frozenset({SEED_AXIS, DRAW_AXIS})
"""The axes whose cells are replicates of each other."""


@dataclass(frozen=True, kw_only=True)
class RunData(RunRecord):
    """Everything a report is made from: a run's record with its tables, its recipe and what that says of reports."""

    samples: pd.DataFrame
    scores: pd.DataFrame
    transcripts: pd.DataFrame
    curves: pd.DataFrame
    experts: pd.DataFrame
    profiles: tuple[ProfileRecord, ...] = ()
    recipe: str = ""
    settings: ReportSettings = field(default_factory=ReportSettings)


def load_run(folder: Path) -> RunData:
    """Read a run folder; HarnessError names the file that is missing or does not fit."""
    record = read_run(folder / "run.json")
    recipe = folder / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8", errors="replace") if recipe.exists() else ""
    stages = score_stages(folder)
    cells = tuple(replace(cell, stages=stages.get(cell.cell, ())) for cell in record.cells)
    return RunData(
        **vars(replace(record, cells=cells)),
        samples=read_table(folder, SAMPLES),
        scores=read_table(folder, SCORES),
        transcripts=read_table(folder, TRANSCRIPTS),
        curves=read_table(folder, CURVES),
        experts=read_table(folder, EXPERTS),
        profiles=read_profiles(folder),
        recipe=text,
        settings=_settings(text, str(recipe)),
    )


def _settings(recipe: str, where: str) -> ReportSettings:
    try:
        data = yaml.safe_load(recipe) if recipe else None
        return ReportSettings.model_validate((data or {}).get("report") or {})
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:
        raise HarnessError(f"its report settings cannot be read ({brief(error)})", where=where) from None
