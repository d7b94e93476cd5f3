"""Verdicts to the samples table, and samples to scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.bench.api import APPROXIMATE, Metric, OpenJudged, samples_frame
from harness.bench.audit import AUDITED, REFERENCE, AuditedScore, audit_metric, audited_metrics, labelled
from harness.bench.labels import read_labels
from harness.bench.panel import judges_own, of_judge, pooled
from harness.core.errors import HarnessError
from harness.core.lines import read_json, write_json
from harness.generate.api import UNFINISHED, Answer
from harness.stages import answer, benchmarks, judge
from harness.stages.api import Context, Kind, Stage

_AUDIT, _LABELS = "audit", "labels"
"""Inputs of an audit: a reference's verdict stage, or a file of verdicts."""
_VERDICTS, _PANEL = "verdicts", "panel:"
"""Inputs of verdicts: a single judge's; before the name of each judge of a panel."""
_SCORES = "audit.json"


def stage(
    bench: benchmarks.PinnedBenchmark, answers: Stage, verdicts: Mapping[str, Stage], audit: Stage | None = None
) -> Stage:
    """The stage that scores one model on one benchmark.

    `verdicts` are by the names of a panel's judges; a single judge's name is "". `audit` is a reference's verdict stage
    on some of the answers, or a pinned file of verdicts (`bench/labels.py`).
    """
    named = {_PANEL + name if name else _VERDICTS: stage for name, stage in verdicts.items()}
    inputs = {"answers": answers, **named, **bench.files}
    if audit is not None:
        inputs[_LABELS if audit.is_leaf else _AUDIT] = audit
    title = next(iter(verdicts.values())).title.replace("verdicts", "scores", 1)
    return _stage(bench, inputs, title)


def measured_stage(bench: benchmarks.PinnedBenchmark, measured: Stage) -> Stage:
    """The stage that scores what a benchmark measured on a model."""
    inputs = {"measured": measured, **bench.files}
    title = measured.title.replace("measures", "scores", 1)
    return _stage(bench, inputs, title)


def _stage(bench: benchmarks.PinnedBenchmark, inputs: Mapping[str, Stage], title: str) -> Stage:
    return Stage(
        KIND.name,
        KIND.version,
        bench.params,
        inputs,
        bench.execution,
        place="driver",
        light=True,
        plugins=bench.plugins,
        title=title,
    )


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The samples and the scores of a finished score stage."""
    return pd.read_parquet(folder / "samples.parquet"), pd.read_parquet(folder / "scores.parquet")


def read_audit(folder: Path) -> list[AuditedScore]:
    """What the audited scores of a finished score stage are made of; empty without an audit."""
    path = folder / _SCORES
    return [AuditedScore(**row) for row in read_json(path)] if path.exists() else []


def metrics(about: Context | Stage) -> tuple[Metric, ...]:
    """The metrics of a score stage, planned or running: the benchmark's, its audit's, and those of a panel's judges."""
    known = benchmarks.opened(about).metrics
    audited = {_AUDIT, _LABELS} & about.inputs.keys()
    whole = audited_metrics(known, _audits(about, known)) if audited else known
    return whole + tuple(of_judge(metric, name) for name in _panel(about) for metric in known)


def _panel(about: Context | Stage) -> list[str]:
    """The names of a panel's judges; empty for a single judge."""
    return [role.removeprefix(_PANEL) for role in about.inputs if role.startswith(_PANEL)]


def _audits(about: Context | Stage, known: Sequence[Metric]) -> Callable[[Metric], bool]:
    """Which metrics are audited: a judge's verdicts make all that are means; a file has values of the first."""
    return lambda metric: metric.mean if _AUDIT in about.inputs else metric.name == known[0].name


def _run(ctx: Context) -> None:
    bench = benchmarks.opened(ctx)
    if isinstance(bench, OpenJudged):
        answers = answer.read(ctx.inputs["answers"])
        by_judge = {name: _samples(ctx.inputs[_PANEL + name], bench, answers) for name in _panel(ctx)}
        samples = pooled(by_judge) if by_judge else _samples(ctx.inputs[_VERDICTS], bench, answers)
    else:
        samples, by_judge = pd.read_parquet(ctx.inputs["measured"] / "samples.parquet"), {}
    scores = bench.aggregate(samples)
    if isinstance(bench, OpenJudged) and (reference := _reference(ctx, bench, answers, samples)) is not None:
        wanted = _audits(ctx, bench.metrics)
        audits = [audit_metric(m.name, samples, reference, m.fewest_audited) for m in bench.metrics if wanted(m)]
        samples = pd.concat([samples, *(audit.samples for audit in audits)], ignore_index=True)
        scores = pd.concat([scores, *(audit.scores for audit in audits)], ignore_index=True)
        if APPROXIMATE in scores:
            scores[APPROXIMATE] = _approximate(scores)
        write_json(ctx.out / _SCORES, [asdict(audit.made) for audit in audits if audit.made])
    known = [metric.name for metric in bench.metrics]
    tables = [(samples, scores)] + [
        judges_own(name, own, bench.aggregate(own), known) for name, own in by_judge.items()
    ]
    samples, scores = (pd.concat(of_kind, ignore_index=True) for of_kind in zip(*tables, strict=True))
    _check_means(metrics(ctx), samples, scores)
    samples.to_parquet(ctx.out / "samples.parquet", index=False)
    scores.to_parquet(ctx.out / "scores.parquet", index=False)


def _samples(verdicts: Path, bench: OpenJudged[Any], answers: Sequence[Answer]) -> pd.DataFrame:
    """What one judge's verdicts make of the answers."""
    return _unfinished(samples_frame(bench.samples(answers, judge.read_verdicts(verdicts))), answers)


def _unfinished(samples: pd.DataFrame, answers: Sequence[Answer]) -> pd.DataFrame:
    """The samples, those without an answer that never left its thinking told from those without any."""
    never = {(a.id, turn) for a in answers for turn, end in enumerate(a.finish, 1) if end == UNFINISHED}
    of_never = np.array([unit in never for unit in zip(samples["item"], samples["turn"], strict=True)], dtype=bool)
    status = samples["status"].mask((samples["status"] == "missing") & of_never, UNFINISHED)
    return samples.assign(status=status)


def _reference(
    ctx: Context, bench: OpenJudged[Any], answers: Sequence[Answer], samples: pd.DataFrame
) -> pd.DataFrame | None:
    """The samples of the reference that audits; None without an audit.

    A question with a failed verdict of the reference is not audited: its other verdicts are no random share.
    """
    if _AUDIT in ctx.inputs:
        folder = ctx.inputs[_AUDIT]
        verdicts = judge.read_verdicts(folder)
        asked = judge.read_audited(folder) - {v.task.item for v in verdicts if v.reply.value is None}
        return samples_frame(bench.samples([a for a in answers if a.id in asked], verdicts))
    if _LABELS in ctx.inputs:
        labels = read_labels(ctx.inputs[_LABELS], ctx.params["benchmark"], answers)
        return labelled(samples, bench.metrics[0].name, labels)
    return None


def _approximate(scores: pd.DataFrame) -> "pd.Series[bool]":
    """An audited score is approximate where the live judge's is."""
    live = scores["metric"].str.removesuffix(AUDITED).str.removesuffix(REFERENCE)
    known = scores.dropna(subset=[APPROXIMATE]).groupby("metric")[APPROXIMATE].any()
    return live.map(known).astype(bool)


def _check_means(metrics: Sequence[Metric], samples: pd.DataFrame, scores: pd.DataFrame) -> None:
    """A score that its metric declares to be the mean of its samples has to be that: reports rely on it.

    Raises:
        HarnessError: it is another number.
    """
    means = samples.groupby("metric")["value"].mean()
    overall = scores[scores["category"] == "overall"].set_index("metric")["value"]
    for metric in metrics:
        score = overall.get(metric.name)
        if not metric.mean or score is None or pd.isna(score):
            continue
        mean = float(means.get(metric.name, np.nan))
        if not np.isclose(mean, float(score), rtol=1e-6, atol=1e-9):
            raise HarnessError(
                f"the score {score:g} is not the mean of its samples, {mean:g}",
                where=f"metric {metric.name}",
                fix="Give samples in the metric's unit, or declare it with `mean=False`.",
            )


KIND = Kind("score", 2, _run)
