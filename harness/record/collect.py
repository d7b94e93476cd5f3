"""Gather what a run's finished stages hold into the run folder: tables, the tools' own files, what run.json says."""

import re
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from harness.bench.api import APPROXIMATE
from harness.core.canonical import canonical
from harness.plan.build import Evaluated, JudgedStages, Plan, PlannedCell
from harness.plan.generation import engines
from harness.record import contamination, determinism, endings, judges, unread
from harness.record.audits import audits, shortfalls
from harness.record.costs import costs
from harness.record.data_notes import data_notes
from harness.record.drawn import sources
from harness.record.families import same_family
from harness.record.folder import RunFolder
from harness.record.judged import Call, Judged, read_judged
from harness.record.judging import judging, warnings
from harness.record.profiles import profiles, write_profiles
from harness.record.run import (
    AuditRecord,
    CellRecord,
    JudgingRecord,
    MetricRecord,
    RunRecord,
    StageCounts,
    TransferRecord,
)
from harness.record.tables import CURVES, EXPERTS, SAMPLES, SCORES, TRANSCRIPTS, write_table
from harness.record.training import curves, mixes, trainings
from harness.record.transcripts import judged_texts, measured_texts, transcript
from harness.record.transfers import transfers
from harness.stages import benchmarks, measure, score, utilisation
from harness.store.provenance import command, provenance
from harness.store.store import Store

_UNSAFE = re.compile(r"[^\w.=,+-]+")
"""What a judge's name may hold and a file's may not: `hf:org/name`."""


def collect(
    folder: RunFolder, plan: Plan, store: Store, executed: int = 0, failed: Mapping[str, str] | None = None
) -> RunRecord:
    """Write the run's tables; returns what run.json is to say.

    Only finished stages are read: a cell that failed has no rows, and its record says why. `executed`
    counts the stages that this run did; `failed` holds each failed stage's message by its id.
    """
    gathered = _evaluations(folder, plan, store)
    trained = trainings(plan, store)
    write_table(folder.path, CURVES, curves(trained))
    write_table(folder.path, EXPERTS, expert_loads(plan, store))
    write_profiles(folder.path, profiles(plan, store))
    made = {i: store.record(i)["provenance"] for i in plan.stages if store.has(i)}
    seconds = round(sum(how["seconds"] for how in made.values()), 1)
    return RunRecord(
        name=plan.recipe.name,
        description=plan.recipe.description,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command(),
        **provenance(),
        axes={axis: tuple(labels) for axis, labels in plan.recipe.axes.items()},
        cells=tuple(
            CellRecord(
                c.name, c.cell.labels, c.cell.baseline is not None, _failure(c, failed or {}), sources=sources(c)
            )
            for c in plan.cells
        ),
        drawn=plan.recipe.drawn,
        undrawn=plan.recipe.undrawn,
        stages=StageCounts(plan.asked.total(), len(plan.stages), executed, seconds),
        generation=tuple(engines(plan)),
        judges=judges.judges(plan, store),
        judging=tuple(gathered.judging),
        audits=tuple(gathered.audits),
        transfers=tuple(gathered.transfers),
        same_family=same_family(plan),
        metrics=_metrics(plan),
        training=tuple(t.record for t in trained),
        mixes=tuple(mixes(trained)),
        contamination=tuple(contamination.rows(plan, store)),
        costs=tuple(costs(plan, gathered.calls, made)),
        not_repeatable=tuple(determinism.not_repeatable(plan, made)),
        warnings=(
            *plan.left_out,
            *data_notes(plan, store),
            *warnings(gathered.judging),
            *_approximations(gathered.scores),
            *gathered.shortfalls,
            *determinism.mixtures(made),
            *dict.fromkeys(
                (
                    *gathered.cut,
                    *unread.cut_responses(plan, store),
                    *unread.quantised_models(plan, store),
                    *unread.of_trainings(trained),
                )
            ),
        ),
    )


@dataclass
class _Gathered:
    """What is kept of the evaluations, whose answers and verdicts are read for a cell at a time."""

    samples: list[pd.DataFrame] = field(default_factory=list)
    scores: list[pd.DataFrame] = field(default_factory=list)
    transcripts: list[pd.DataFrame] = field(default_factory=list)
    judging: list[JudgingRecord] = field(default_factory=list)
    calls: defaultdict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    """By cell."""
    audits: list[AuditRecord] = field(default_factory=list)
    transfers: list[TransferRecord] = field(default_factory=list)
    shortfalls: list[str] = field(default_factory=list)
    """Warnings of audits."""
    cut: list[str] = field(default_factory=list)
    """Warnings of answers that were cut, or hold thinking."""


def _evaluations(folder: RunFolder, plan: Plan, store: Store) -> _Gathered:
    """Read each cell's evaluations and write their tables and the tools' own files."""
    for name in dict.fromkeys(e.benchmark for cell in plan.cells for e in cell.evaluated):
        shutil.rmtree(folder.path / name, ignore_errors=True)  # what benchmarks export is appended to
    gathered, axes = _Gathered(), list(plan.recipe.axes)
    for cell, evaluated in ((c, e) for c in plan.cells for e in c.evaluated):
        judged = _judged(cell.name, evaluated, store)
        for of_judge in judged:
            gathered.judging += judging(of_judge)
            gathered.calls[cell.name] += of_judge.calls
        if judged:
            gathered.cut += [*unread.cut_answers(judged[0]), *unread.judged_thinking(judged[0])]
            _audited(gathered, cell.name, evaluated, evaluated.judged[0], store)
        if store.has(evaluated.score.id):
            labels = {"baseline": cell.cell.baseline is not None} | {a: cell.cell.labels.get(a) for a in axes}
            _tables(gathered, {"cell": cell.name} | labels, store, evaluated, judged)
            _export(folder, store, cell, evaluated, judged)
            gathered.transfers += transfers(cell.name, evaluated, store)
    write_table(folder.path, SAMPLES, gathered.samples, ["baseline", *axes])
    write_table(folder.path, SCORES, gathered.scores, list(dict.fromkeys(["baseline", *axes, "judge"])))
    write_table(folder.path, TRANSCRIPTS, gathered.transcripts)
    return gathered


def _judged(cell: str, evaluated: Evaluated, store: Store) -> list[Judged]:
    """What each judge of an evaluation said; empty for a benchmark without judges."""
    panel = len(evaluated.judged) > 1
    named = ((stages, judges.name(stages.verdicts) if panel else "") for stages in evaluated.judged)
    return [read_judged(cell, evaluated.benchmark, stages, store, name) for stages, name in named]


def _audited(gathered: _Gathered, cell: str, evaluated: Evaluated, stages: JudgedStages, store: Store) -> None:
    """What there is of the audit of one evaluation."""
    reference = None
    if stages.audit is not None:
        reference = read_judged(cell, evaluated.benchmark, JudgedStages(stages.answers, stages.audit), store)
        gathered.calls[cell] += reference.calls
    if store.has(evaluated.score.id):
        gathered.audits += audits(cell, evaluated, reference, store)
        gathered.shortfalls += shortfalls(cell, evaluated, reference, store)


def _tables(
    gathered: _Gathered, labels: dict[str, Any], store: Store, evaluated: Evaluated, judged: Sequence[Judged]
) -> None:
    """The rows of one evaluation, with the columns that every row of its cell has."""
    samples, scores = score.read(store.path(evaluated.score.id))
    if judged:
        texts, ends = judged_texts(judged), endings.of_answers(judged[0].answers)
    else:
        measured = store.path(evaluated.score.inputs["measured"].id)
        texts, ends = measured_texts(measured), endings.of_measured(measured)
    samples = endings.with_endings(samples, ends)
    scores = endings.beside(scores, samples, benchmarks.opened(evaluated.score))
    approximate = scores.get(APPROXIMATE, False)
    gathered.samples.append(samples.assign(**labels))
    # Along an axis `judge` a judge is called as the axis calls it.
    judge = {"judge": judges.together(evaluated), APPROXIMATE: approximate}
    gathered.scores.append(scores.assign(**judge | labels))
    gathered.transcripts.append(transcript(labels["cell"], samples, texts))


def _export(folder: RunFolder, store: Store, cell: PlannedCell, evaluated: Evaluated, judged: Sequence[Judged]) -> None:
    """The benchmark's own file formats, under the cell's name; of a panel each judge's."""
    target = folder.path / evaluated.benchmark
    target.mkdir(exist_ok=True)
    scored = evaluated.score
    if not judged:
        files = store.path(scored.inputs["measured"].id) / measure.FILES
        benchmarks.open_measured(scored).export(target, cell.name, files)
        return
    bench = benchmarks.open_judged(scored)
    for of_judge in judged:
        name = _UNSAFE.sub("-", judges.name(of_judge.stage))
        bench.export(target, cell.name, name, of_judge.answers, of_judge.verdicts)


def _approximations(scores: list[pd.DataFrame]) -> list[str]:
    """Which numbers stand in for those that need data that were not given."""
    marked = pd.concat(scores) if scores else pd.DataFrame(columns=[APPROXIMATE])
    names = {(row["benchmark"], row["metric"]): None for _, row in marked[marked[APPROXIMATE].astype(bool)].iterrows()}
    return [
        f"{benchmark}: {metric} is approximate: made without the benchmark's own data." for benchmark, metric in names
    ]


def _failure(cell: PlannedCell, failed: Mapping[str, str]) -> str | None:
    """The first failure among the stages a cell stands on."""
    for evaluated in cell.evaluated:
        for stage in evaluated.score.walk():
            if stage.id in failed:
                return f"{stage.title}: {failed[stage.id]}"
    return None


def expert_loads(plan: Plan, store: Store) -> list[pd.DataFrame]:
    """The rows (EXPERTS) of every finished utilisation stage."""
    routings = ((c.name, e.benchmark, e.routing) for c in plan.cells for e in c.evaluated if e.routing is not None)
    return [
        utilisation.read(store.path(stage.id)).assign(cell=cell, benchmark=benchmark)
        for cell, benchmark, stage in routings
        if store.has(stage.id)
    ]


def _metrics(plan: Plan) -> tuple[MetricRecord, ...]:
    """Those of every benchmark, under each of the settings that cells give it, and with each audit or none."""
    every = (evaluated for cell in plan.cells for evaluated in cell.evaluated)
    scored = {(e.benchmark, canonical(e.score.execution), tuple(e.score.inputs)): e.score for e in every}
    records = (
        MetricRecord(name, m.name, m.unit, m.direction, m.role, m.headline, m.binary, m.mean, m.audits, m.judge, m.rate)
        for (name, _, _), stage in scored.items()
        for m in score.metrics(stage)
    )
    return tuple(dict.fromkeys(records))
