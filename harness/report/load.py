"""A run folder as typed data: the only door through which a report learns anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

import pandas as pd
import yaml
from pydantic import TypeAdapter, ValidationError

from harness.bench.api import SAMPLE_COLUMNS, SCORE_COLUMNS
from harness.core.canonical import Json
from harness.core.errors import HarnessError, brief
from harness.core.lines import read_json
from harness.report.settings import ReportSettings

SEED_AXIS = "seed"
"""The axis whose cells are replicates of each other."""

_RERUN = "Run the recipe again (finished stages are kept); a run folder is written when a run ends."
_SHAPES: Mapping[str, type] = {
    **dict.fromkeys(("axes", "stages", "versions", "hardware", "git"), dict),
    **dict.fromkeys(("cells", "metrics", "judges", "training", "contamination", "mixes", "costs", "warnings"), list),
    "not_repeatable": list,
}
_TRANSCRIPT = ("cell", "benchmark", "item", "category", "turn", "question", "answer", "reference", "verdict", "value")
_CURVES = ("cell", "step_name", "step", "tokens", "metric", "value")
_EXPERTS = ("cell", "benchmark", "category", "layer", "expert", "share", "entropy")
T = TypeVar("T")


@dataclass(frozen=True)
class CellInfo:
    """One point of the sweep, or a baseline beside it."""

    cell: str
    labels: Mapping[str, str]
    baseline: bool = False
    failed: str | None = None
    """Why it has no scores, or fewer than it should."""
    stages: tuple[str, ...] = ()
    """Ids of its score stages: cells that share them are one replicate."""


@dataclass(frozen=True)
class MetricInfo:
    """A number that a benchmark reports."""

    benchmark: str
    metric: str
    unit: str
    direction: Literal["higher", "lower"]
    role: Literal["general", "domain"]
    headline: bool = True


@dataclass(frozen=True)
class JudgeInfo:
    """Who judged a benchmark, and whether its verdicts were ever checked against known ones."""

    benchmark: str
    judge: str
    protocol: str = ""
    calibrated: bool | None = None
    """None where the question does not arise, as for a program."""
    uninformative: bool = False
    """Its calibration found that its verdicts say next to nothing."""
    note: str = ""


@dataclass(frozen=True)
class TrainingInfo:
    """What one training step of a cell used."""

    cell: str
    step: str
    rows: int = 0
    skipped: int = 0
    truncated: int = 0
    response_tokens: int = 0
    steps: int = 0
    train_flops: float | None = None
    """None where it was not counted."""
    chosen: Mapping[str, Json] = field(default_factory=dict)
    """What `select:` chose, e.g. learning_rate."""
    candidates: tuple[Mapping[str, Json], ...] = ()
    """Among what: the settings of each training, and its `held_out_loss`."""


@dataclass(frozen=True)
class ContaminationInfo:
    """Benchmark prompts that one training dataset contains."""

    dataset: str
    benchmark: str
    prompts: int = 0
    exact: int = 0
    """Prompts that occur word for word."""
    ngram: int = 0
    """Prompts with many of their n-grams in the data."""
    n: int | None = None
    """Words of an n-gram."""
    examples: tuple[Mapping[str, Json], ...] = ()
    """Some of the prompts (`prompt`) and the training rows (`row`) that hold them."""


@dataclass(frozen=True)
class MixInfo:
    """One domain's part of the data of one training step."""

    cell: str
    step: str
    domain: str | None = None
    """None: the general part."""
    rows: int = 0
    response_tokens: int = 0
    share: float | None = None
    """Of the step's examples, 0 to 1."""
    token_share: float | None = None
    """Of their response tokens, 0 to 1."""


@dataclass(frozen=True)
class CostInfo:
    """What the stages that one cell stands on took; a stage that cells share counts for each."""

    cell: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By kind of stage."""
    judge_calls: int = 0
    judge_tokens: int = 0
    price_usd: float | None = None
    """None where no call's price is known."""


@dataclass(frozen=True)
class RunData:
    """Everything a report is made from."""

    name: str
    cells: tuple[CellInfo, ...]
    metrics: tuple[MetricInfo, ...]
    axes: Mapping[str, tuple[str, ...]]
    samples: pd.DataFrame
    scores: pd.DataFrame
    transcripts: pd.DataFrame
    curves: pd.DataFrame
    judges: tuple[JudgeInfo, ...] = ()
    training: tuple[TrainingInfo, ...] = ()
    contamination: tuple[ContaminationInfo, ...] = ()
    mixes: tuple[MixInfo, ...] = ()
    costs: tuple[CostInfo, ...] = ()
    experts: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(_EXPERTS)))
    warnings: tuple[str, ...] = ()
    not_repeatable: tuple[str, ...] = ()
    """What another run of the recipe may not give again."""
    description: str = ""
    created: str = ""
    command: str = ""
    recipe: str = ""
    stages: Mapping[str, Json] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, Json] = field(default_factory=dict)
    git: Mapping[str, Json] = field(default_factory=dict)
    settings: ReportSettings = field(default_factory=ReportSettings)


def load_run(folder: Path) -> RunData:
    """Read a run folder; HarnessError names the file that is missing or does not fit."""
    record = _record(folder / "run.json")
    recipe = folder / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8", errors="replace") if recipe.exists() else ""
    where = str(folder / "run.json")
    axes = {str(axis): tuple(str(v) for v in labels) for axis, labels in record["axes"].items()}
    return RunData(
        name=str(record["name"]),
        cells=_cells(record["cells"], _score_stages(folder / "plan.json"), where),
        metrics=_typed(MetricInfo, record["metrics"], where),
        axes=axes,
        samples=_table(folder / "samples.parquet", ("cell", *SAMPLE_COLUMNS)),
        scores=_table(folder / "scores.parquet", ("cell", *SCORE_COLUMNS)),
        transcripts=_table(folder / "transcripts.parquet", (*_TRANSCRIPT, "status"), optional=True),
        curves=_table(folder / "curves.parquet", _CURVES, optional=True),
        judges=_typed(JudgeInfo, record.get("judges", []), where),
        training=_typed(TrainingInfo, record.get("training", []), where),
        contamination=_typed(ContaminationInfo, record.get("contamination") or [], where),
        mixes=_typed(MixInfo, record.get("mixes") or [], where),
        costs=_typed(CostInfo, record.get("costs") or [], where),
        experts=_table(folder / "experts.parquet", _EXPERTS, optional=True),
        warnings=tuple(str(w) for w in record.get("warnings", [])),
        not_repeatable=tuple(str(w) for w in record.get("not_repeatable", [])),
        recipe=text,
        settings=_settings(text, str(recipe)),
        description=str(record.get("description") or ""),
        created=str(record.get("created") or ""),
        command=str(record.get("command") or ""),
        stages=record.get("stages") or {},
        versions=record.get("versions") or {},
        hardware=record.get("hardware") or {},
        git=record.get("git") or {},
    )


def _record(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise HarnessError("not a run folder: it has no run.json", where=str(path.parent), fix=_RERUN)
    record = read_json(path, _RERUN)
    if not isinstance(record, dict):
        record = {}
    needed = ("name", "axes", "cells", "metrics")
    # `axes` alone may be null: a recipe need not have any.
    missing = [key for key in needed if key not in record or (record[key] is None and key != "axes")]
    if missing:
        raise HarnessError(f"has no {', '.join(missing)}", where=str(path), fix=_RERUN)
    given: dict[str, Any] = {key: value for key, value in record.items() if value is not None or key not in _SHAPES}
    wrong = [key for key, shape in _SHAPES.items() if key in given and not isinstance(given[key], shape)]
    if not wrong:
        axes = given.setdefault("axes", {})
        wrong = [f"axes.{axis}" for axis, labels in axes.items() if not isinstance(labels, list)]
    if wrong:
        raise HarnessError(f"has another shape than a run's record in {', '.join(wrong)}", where=str(path), fix=_RERUN)
    return given


def _score_stages(path: Path) -> dict[str, tuple[str, ...]]:
    """The score stages of each cell, where the plan is kept beside the run."""
    if not path.exists():
        return {}
    match read_json(path, _RERUN):
        case {"cells": [*cells]} if all(isinstance(cell, dict) and isinstance(cell.get("cell"), str) for cell in cells):
            stages = {cell["cell"]: cell.get("stages", []) for cell in cells}
            if all(isinstance(own, list) for own in stages.values()):
                return {name: tuple(map(str, own)) for name, own in stages.items()}
    raise HarnessError("is no plan of a run", where=str(path), fix=_RERUN)


def _cells(
    rows: Sequence[Mapping[str, Json]], stages: Mapping[str, tuple[str, ...]], where: str
) -> tuple[CellInfo, ...]:
    found = []
    for row in rows:
        match row:
            case {"cell": str(name), **rest}:
                labels = rest.get("labels") or {}
                texts = {str(k): str(v) for k, v in labels.items()} if isinstance(labels, dict) else labels
                found.append({**row, "labels": texts, "stages": stages.get(name, ())})
            case _:
                raise HarnessError("an entry of `cells` has no `cell` (a text)", where=where, fix=_RERUN)
    return _typed(CellInfo, found, where)


def _typed(kind: type[T], rows: Sequence[Mapping[str, Json]], where: str) -> tuple[T, ...]:
    """Rows as dataclasses; keys that this version does not know are left out."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    known_of_rows = [{k: v for k, v in row.items() if k in known} if isinstance(row, dict) else row for row in rows]
    try:
        return TypeAdapter(tuple[kind, ...]).validate_python(known_of_rows)  # type: ignore[valid-type]
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise HarnessError(f"an entry does not fit {kind.__name__} ({what})", where=where, fix=_RERUN) from None


def _table(path: Path, columns: Sequence[str], *, optional: bool = False) -> pd.DataFrame:
    if not path.exists():
        if optional:
            return pd.DataFrame(columns=list(columns))
        raise HarnessError("the run has no such table", where=str(path), fix=_RERUN)
    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # a broken file can fail in any way
        raise HarnessError(f"cannot be read as Parquet ({brief(error)})", where=str(path), fix=_RERUN) from None
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise HarnessError(f"has no column {', '.join(missing)}", where=str(path), fix=_RERUN)
    for column in {"value", "stderr"} & set(frame.columns):
        try:
            frame[column] = frame[column].astype("Float64").astype("float64")
        except (ValueError, TypeError):
            raise HarnessError(f"`{column}` does not hold numbers", where=str(path), fix=_RERUN) from None
    return frame


def _settings(recipe: str, where: str) -> ReportSettings:
    try:
        data = yaml.safe_load(recipe) if recipe else None
        return ReportSettings.model_validate((data or {}).get("report") or {})
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:
        raise HarnessError(f"its report settings cannot be read ({brief(error)})", where=where) from None
