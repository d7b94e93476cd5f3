"""Gather what a run's finished stages hold into the run folder: tables, transcripts, curves, the tools' own files."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.bench.api import APPROXIMATE, SAMPLE_COLUMNS, SCORE_COLUMNS
from harness.core.canonical import Json
from harness.core.lines import read_lines
from harness.judge.api import Verdict
from harness.plan.build import Evaluated, JudgedStages, Plan, PlannedCell
from harness.plan.generation import engines
from harness.record import contamination, determinism, unread
from harness.record.costs import costs
from harness.record.data_notes import data_notes
from harness.record.folder import RunFolder
from harness.record.judges import describe, judges
from harness.record.judging import judging, warnings
from harness.stages import answer, benchmarks, judge, measure, score, utilisation
from harness.stages.api import Stage
from harness.store.store import Store

_TRANSCRIPT = ("benchmark", "item", "category", "turn", "question", "answer", "reference", "verdict", "value", "status")
EXPERT_COLUMNS = ("cell", "benchmark", *utilisation.COLUMNS)

_UNSAFE = re.compile(r"[^\w.=,+-]+")
"""What a judge's name may hold and a file's may not: `hf:org/name`."""


def collect(folder: RunFolder, plan: Plan, store: Store) -> dict[str, Json]:
    """Write the run's tables; returns the facts that go into run.json.

    Only finished stages are read: a cell that failed has no rows, and run.json says why.
    """
    for name in dict.fromkeys(e.benchmark for cell in plan.cells for e in cell.evaluated):
        shutil.rmtree(folder.path / name, ignore_errors=True)  # what benchmarks export is appended to
    ready = [(c, e) for c in plan.cells for e in c.evaluated if store.has(e.score.id)]
    axes = list(plan.recipe.axes)
    samples, scores, transcripts = [], [], []
    for cell, evaluated in ready:
        of_samples, of_scores = score.read(store.path(evaluated.score.id))
        labels: dict[str, Any] = {"cell": cell.name, "baseline": cell.cell.baseline is not None}
        labels |= {axis: cell.cell.labels.get(axis) for axis in axes}
        samples.append(of_samples.assign(**labels))
        approximate = of_scores.get(APPROXIMATE, False)
        scores.append(of_scores.assign(**labels, judge=_judge_of(evaluated, store), **{APPROXIMATE: approximate}))
        transcripts.append(
            pd.DataFrame(_transcript(store, evaluated), columns=list(_TRANSCRIPT)).assign(cell=cell.name)
        )
        _export(folder, store, cell, evaluated)
    lead = ["cell", "baseline", *axes]
    _table(folder, "samples", samples, [*lead, *SAMPLE_COLUMNS])
    _table(folder, "scores", scores, [*lead, "judge", *SCORE_COLUMNS, APPROXIMATE])
    _table(folder, "transcripts", transcripts, ["cell", *_TRANSCRIPT], csv=False)
    training, curves = _training(plan, store)
    _table(folder, "curves", curves, ["cell", "step_name", "step", "tokens", "metric", "value"], csv=False)
    _table(folder, "experts", expert_loads(plan, store), list(EXPERT_COLUMNS))
    asked = judging(plan, store)
    made = {i: store.record(i)["provenance"] for i in plan.stages if store.has(i)}
    return {
        "generation": engines(plan),
        "judges": judges(plan, store),
        "judging": asked,
        "metrics": _metrics(plan),
        "training": training,
        "mixes": mixes(plan, store),
        "contamination": contamination.rows(plan, store),
        "costs": costs(plan, store, made),
        "not_repeatable": determinism.not_repeatable(plan, store, made),
        "warnings": [
            *plan.left_out,
            *data_notes(plan, store),
            *warnings(asked),
            *_approximations(scores),
            *determinism.mixtures(made),
            *unread.warnings(plan, store),
        ],
    }


def _approximations(scores: list[pd.DataFrame]) -> list[str]:
    """Which numbers stand in for ones that need data that were not given."""
    marked = pd.concat(scores) if scores else pd.DataFrame(columns=[APPROXIMATE])
    names = {(row["benchmark"], row["metric"]): None for _, row in marked[marked[APPROXIMATE].astype(bool)].iterrows()}
    return [
        f"{benchmark}: {metric} is approximate: made without the benchmark's own data." for benchmark, metric in names
    ]


def _table(folder: RunFolder, name: str, frames: list[pd.DataFrame], columns: list[str], *, csv: bool = True) -> None:
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    frame = frame[columns]
    frame.to_parquet(folder.path / f"{name}.parquet", index=False)
    if csv:
        frame.to_csv(folder.path / f"{name}.csv", index=False)


def _judge_of(evaluated: Evaluated, store: Store) -> str:
    """The judge's name; empty where nothing was judged."""
    return str(describe(evaluated.judged.verdicts, store)["judge"]) if evaluated.judged else ""


def _transcript(store: Store, evaluated: Evaluated) -> Iterator[dict[str, Json]]:
    """One row per judged turn (or measured item), with the texts a reader wants to see and the mean of its samples.

    Its verdicts, where there are several (repeats, both orders of a pair), stand below each other.
    """
    samples, _ = score.read(store.path(evaluated.score.id))
    if evaluated.judged is None:
        texts, verdicts = _measured_texts(store.path(evaluated.score.inputs["measured"].id))
    else:
        texts, verdicts = _judged_texts(store.path(evaluated.judged.verdicts.id))
    for _, rows in samples.groupby(["item", "turn"], sort=False):
        unit = (str(rows["item"].iloc[0]), int(rows["turn"].iloc[0]))
        row = rows[rows["metric"] == rows["metric"].iloc[0]]  # a benchmark may score one verdict under several metrics
        own = texts.get(unit, {})
        failed = row["status"][row["status"] != "ok"]
        yield {
            **{column: row[column].iloc[0] for column in ("benchmark", "item", "category", "turn")},
            "status": "ok" if failed.empty else failed.iloc[0],
            **{name: own.get(name) for name in ("question", "answer", "reference")},
            "verdict": _said(verdicts.get(unit, [])),
            "value": float(row["value"].mean()) if row["value"].notna().any() else None,
        }


Unit = tuple[str, int]
"""Item and turn."""
Texts = tuple[dict[Unit, Mapping[str, Json]], dict[Unit, list[Verdict]]]
"""Question, answer and reference of each unit, and its verdicts."""


def _judged_texts(folder: Path) -> Texts:
    verdicts: dict[Unit, list[Verdict]] = {}
    for verdict in judge.read_verdicts(folder):
        verdicts.setdefault((verdict.task.item, verdict.task.turn), []).append(verdict)
    return {unit: judged[-1].task.evidence for unit, judged in verdicts.items()}, verdicts


def _measured_texts(folder: Path) -> Texts:
    path = folder / measure.FILES / "transcripts.jsonl"
    return {(str(row["item"]), 1): row for row in read_lines(path)} if path.exists() else {}, {}


def _said(verdicts: list[Verdict]) -> str | None:
    if len(verdicts) < 2:
        return verdicts[0].reply.text if verdicts else None
    places = {"ab": "shown first: ", "ba": "shown second: "}
    return "\n\n".join(f"({k}) {places.get(v.task.variant, '')}{v.reply.text}" for k, v in enumerate(verdicts, 1))


def _export(folder: RunFolder, store: Store, cell: PlannedCell, evaluated: Evaluated) -> None:
    """The benchmark's own file formats, under the cell's name."""
    target = folder.path / evaluated.benchmark
    target.mkdir(exist_ok=True)
    if evaluated.judged is not None:
        _export_judged(target, cell.name, evaluated.score, evaluated.judged, store)
        return
    bench = benchmarks.open_measured(evaluated.score)
    bench.export(target, cell.name, store.path(evaluated.score.inputs["measured"].id) / measure.FILES)


def _export_judged(target: Path, cell: str, scored: Stage, judged: JudgedStages, store: Store) -> None:
    verdicts = store.path(judged.verdicts.id)
    benchmarks.open_judged(scored).export(
        target,
        cell,
        _UNSAFE.sub("-", describe(judged.verdicts, store)["judge"]),
        answer.read(store.path(judged.answers.id)),
        judge.read_verdicts(verdicts),
    )


def _training(plan: Plan, store: Store) -> tuple[list[dict[str, Json]], list[pd.DataFrame]]:
    counts, curves = [], []
    for cell in plan.cells:
        for number, trained in enumerate(cell.trained, 1):
            if not store.has(trained.stage.id):
                continue
            out = store.path(trained.stage.id)
            step = f"{number} {trained.stage.params['step']}"
            summary = json.loads((out / "training.json").read_text())
            skipped = sum(summary["skipped"].values())
            counts.append({"cell": cell.name, "step": step} | summary | {"skipped": skipped})
            if (out / "log.jsonl").exists():  # a command keeps none
                curves.append(_curve(out / "log.jsonl").assign(cell=cell.name, step_name=step))
    return counts, curves


def expert_loads(plan: Plan, store: Store) -> list[pd.DataFrame]:
    """The rows (EXPERT_COLUMNS) of every finished utilisation stage."""
    routings = ((c.name, e.benchmark, e.routing) for c in plan.cells for e in c.evaluated if e.routing is not None)
    return [
        utilisation.read(store.path(stage.id)).assign(cell=cell, benchmark=benchmark)
        for cell, benchmark, stage in routings
        if store.has(stage.id)
    ]


def mixes(plan: Plan, store: Store) -> list[dict[str, Json]]:
    """What each training on a mix learned from: a row per part, with its share of examples and of response tokens."""
    rows: list[dict[str, Json]] = []
    for cell in plan.cells:
        for number, trained in enumerate(cell.trained, 1):
            if not store.has(trained.stage.id):
                continue
            parts = json.loads((store.path(trained.stage.id) / "training.json").read_text()).get("domains")
            if not parts:
                continue
            total, tokens = (sum(part[name] for part in parts.values()) for name in ("rows", "response_tokens"))
            lead = {"cell": cell.name, "step": f"{number} {trained.stage.params['step']}"}
            rows += [
                {**lead, "domain": name, **part, "share": part["rows"] / total}
                | {"token_share": part["response_tokens"] / tokens}
                for name, part in sorted(parts.items(), key=lambda named: named[0] != "general")
            ]
    return rows


def _curve(path: Path) -> pd.DataFrame:
    rows = pd.DataFrame(list(read_lines(path)))
    melted = rows.melt(id_vars=["step", "tokens"], var_name="metric").astype({"value": "float64"})
    return melted.dropna(subset="value")  # a part of the loss that a step has not


def _metrics(plan: Plan) -> list[dict[str, Json]]:
    scored = {e.benchmark: e.score for cell in plan.cells for e in cell.evaluated}
    return [
        {"benchmark": name, "metric": metric.name} | {k: v for k, v in vars(metric).items() if k != "name"}
        for name, stage in scored.items()
        for metric in benchmarks.opened(stage).metrics
    ]
