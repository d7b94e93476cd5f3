"""Verdicts to the samples table, and samples to scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from harness.bench.api import Metric, OpenJudged, samples_frame
from harness.core.errors import HarnessError
from harness.generate.api import UNFINISHED, Answer
from harness.stages import answer, benchmarks, judge
from harness.stages.api import Context, Kind, Stage


def stage(bench: benchmarks.PinnedBenchmark, answers: Stage, verdicts: Stage) -> Stage:
    """The stage that scores one model on one benchmark."""
    inputs = {"answers": answers, "verdicts": verdicts, **bench.files}
    title = verdicts.title.replace("verdicts", "scores", 1)
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


def _run(ctx: Context) -> None:
    bench = benchmarks.opened(ctx)
    if isinstance(bench, OpenJudged):
        answers, verdicts = answer.read(ctx.inputs["answers"]), judge.read_verdicts(ctx.inputs["verdicts"])
        samples = _unfinished(samples_frame(bench.samples(answers, verdicts)), answers)
    else:
        samples = pd.read_parquet(ctx.inputs["measured"] / "samples.parquet")
    scores = bench.aggregate(samples)
    _check_means(bench.metrics, samples, scores)
    samples.to_parquet(ctx.out / "samples.parquet", index=False)
    scores.to_parquet(ctx.out / "scores.parquet", index=False)


def _unfinished(samples: pd.DataFrame, answers: Sequence[Answer]) -> pd.DataFrame:
    """The samples, those without an answer that never left its thinking told from those without any."""
    never = {(a.id, turn) for a in answers for turn, end in enumerate(a.finish, 1) if end == UNFINISHED}
    of_never = np.array([unit in never for unit in zip(samples["item"], samples["turn"], strict=True)], dtype=bool)
    status = samples["status"].mask((samples["status"] == "missing") & of_never, UNFINISHED)
    return samples.assign(status=status)


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
