"""A run's metrics are those of every setting that its cells give a benchmark."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.bench.mt_bench import MTBenchSettings
from harness.record.collect import _metrics
from harness.stages import benchmarks
from harness.stages.api import Stage
from tests.cli.judged import write_benchmark


def plan(*settings: MTBenchSettings) -> Any:
    """As much of a plan as is read: a cell for each of the settings."""
    pinned = [benchmarks.pin("mt_bench", s) for s in settings]
    scores = [Stage("score", 2, p.params, p.files, p.execution) for p in pinned]
    return SimpleNamespace(
        cells=[SimpleNamespace(evaluated=[SimpleNamespace(benchmark="mt_bench", score=s)]) for s in scores]
    )


def test_scores_under_other_references_are_another_metric(tmp_path: Path) -> None:
    data = write_benchmark(tmp_path / "mt_bench")
    reference = json.loads((data / "reference_answer/gpt-4.jsonl").read_text())
    reference["choices"][0]["turns"][0] = "two"
    (data / "reference_answer/gpt-4.corrected.jsonl").write_text(json.dumps(reference) + "\n")
    plain, corrected = MTBenchSettings(data=data), MTBenchSettings(data=data, references="gpt-4.corrected")
    names = [metric.metric for metric in _metrics(plan(plain, corrected, plain))]
    assert names == ["score", "score_gpt_4_corrected"]
    opened = benchmarks.judged("mt_bench").open(corrected, benchmarks.judged("mt_bench").files(corrected))
    assert {sample.metric for sample in opened.samples([], [])} == {"score_gpt_4_corrected"}
    (question,) = (q for q in opened.questions if q.extra)
    assert question.extra["references"] == ["two", "4"]
