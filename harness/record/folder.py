"""A run's folder: one execution of a recipe, as plain files; what was planned is written and read here."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.lines import read_json, write_atomically
from harness.plan.build import Plan, PlannedCell
from harness.record.run import AGAIN, as_text, typed
from harness.record.stages import MADE_AGAIN, STAGES, PlannedStage, graph_digest, stage_ids, write_stages
from harness.stages.api import Stage


@dataclass(frozen=True)
class PlannedRow:
    """A cell as plan.json has it."""

    cell: str
    labels: Mapping[str, str]
    baseline: bool
    stages: tuple[str, ...]
    """Ids of its score stages."""
    model: str = ""
    """Its model's folder in the store's artifacts, `ID/PART`; empty for a model that was there before the run."""


@dataclass(frozen=True)
class RunFolder:
    """Where a run's files lie."""

    path: Path

    @property
    def plan(self) -> Path:
        """The cells with the ids of their score stages; all stages are beside it (`record.stages`)."""
        return self.path / "plan.json"

    @property
    def report(self) -> Path:
        """The page; written last, so that its presence says that the rest is there."""
        return self.path / "report.html"

    @property
    def teachers(self) -> Path:
        """The teachers' page, of a run that scores any."""
        return self.path / "teachers.html"

    @property
    def record(self) -> Path:
        """What the run was and did."""
        return self.path / "run.json"


def run_folder(results: Path, name: str) -> RunFolder:
    """The folder of the run with that name."""
    return RunFolder(results / "runs" / name)


def find_run(results: Path, run: str) -> RunFolder:
    """A run that is there, by name or by folder."""
    for path in (results / "runs" / run, Path(run)):
        if (path / "plan.json").exists():
            return RunFolder(path)
    known = sorted(p.parent.name for p in (results / "runs").glob("*/plan.json"))
    fix = f"Runs here: {', '.join(known)}." if known else "`harness run RECIPE` makes one."
    raise HarnessError("no such run", where=run, fix=fix)


def write_plan(folder: RunFolder, plan: Plan, judge_epoch: int) -> None:
    """Write down what is about to run: the resolved recipe, the cells, the stages.

    Where that differs from what is there, the folder is emptied first: no table outlives the cells it was made from.
    """
    stages = {stage.id: _planned(stage) for stage in plan.stages.values()}
    texts = {folder.path / "recipe.yaml": plan.recipe.text, folder.plan: _plan_text(plan, stages, judge_epoch)}
    same = all(path.exists() and path.read_text() == text for path, text in texts.items())
    if same and (folder.path / STAGES).exists():
        return
    try:
        if folder.path.exists():
            shutil.rmtree(folder.path)
        folder.path.mkdir(parents=True)
        write_stages(folder.path, stages)
        for path, text in texts.items():
            write_atomically(path, text)
    except OSError as error:  # names a file of the folder without saying of which
        raise OSError(error.errno, error.strerror, str(folder.path)) from error


def _plan_text(plan: Plan, stages: Mapping[str, PlannedStage], judge_epoch: int) -> str:
    cells = [vars(_row(cell)) for cell in plan.cells]
    record = {"recipe": str(plan.recipe.path), "judge_epoch": judge_epoch, "keep": plan.keep, "finals": plan.finals}
    record["stages"] = graph_digest(stages)
    plugins = {"plugins": [str(file) for file in plan.recipe.plugins]} if plan.recipe.plugins else {}
    return as_text(record | plugins | {"cells": cells})


def _row(planned: PlannedCell) -> PlannedRow:
    cell, model = planned.cell, planned.model
    place = "" if model.stage.is_leaf else f"{model.stage.id}/{model.part}".rstrip("/")
    return PlannedRow(
        planned.name, cell.labels, cell.baseline is not None, tuple(e.score.id for e in planned.evaluated), place
    )


def _planned(stage: Stage) -> PlannedStage:
    made = dict.fromkeys(source.id for source in stage.inputs.values() if not source.is_leaf)
    return PlannedStage(stage.kind, stage.title, tuple(made))


def judge_epoch(folder: RunFolder, *, again: bool) -> int:
    """The epoch of a run's judge calls: what it was, or one more when all are to be asked again."""
    epoch: int = read_plan(folder)["judge_epoch"] if folder.plan.exists() else 0
    return epoch + again


def read_plan(folder: RunFolder) -> dict[str, Json]:
    """What `write_plan` wrote, without the stages."""
    plan = read_json(folder.plan, MADE_AGAIN)
    match plan:
        case {"cells": [*_]} if isinstance(plan.get("judge_epoch", 0), int):
            return dict(plan)
    raise HarnessError("is no plan of a run", where=str(folder.plan), fix=MADE_AGAIN)


def score_stages(folder: Path) -> dict[str, tuple[str, ...]]:
    """The score stages of each cell of a run; {} where its plan is not kept beside it."""
    return {row.cell: row.stages for row in planned_rows(folder)}


def planned_rows(folder: Path) -> tuple[PlannedRow, ...]:
    """The cells of a run's plan; none where that is not kept beside it."""
    path = RunFolder(folder).plan
    if not path.exists():
        return ()
    plan = read_json(path, AGAIN)
    return typed(tuple[PlannedRow, ...], plan.get("cells") if isinstance(plan, dict) else None, str(path))


def models_of_runs(results: Path) -> dict[str, list[str]]:
    """The cells whose models lie in the store, as folder of an artifact (`ID/PART`) -> `RUN CELL`."""
    cells: dict[str, list[str]] = {}
    for path in sorted((results / "runs").glob("*/plan.json")):
        for row in planned_rows(path.parent):
            if row.model:
                cells.setdefault(row.model, []).append(f"{path.parent.name} {row.cell}")
    return cells


def needed(results: Path) -> set[str]:
    """The stages that the runs of a results folder stand on.

    Raises:
        HarnessError: a run's plan cannot be read, so that what it needs is not known.
    """
    return {stage for path in sorted((results / "runs").glob("*/plan.json")) for stage in stage_ids(path.parent)}


def read_scores(folder: RunFolder) -> pd.DataFrame:
    """The run's tidy scores table."""
    path = folder.path / "scores.parquet"
    if not path.exists():
        raise HarnessError(
            "this run has no scores yet", where=str(folder.path), fix="`harness status` says how far it is."
        )
    return pd.read_parquet(path)
