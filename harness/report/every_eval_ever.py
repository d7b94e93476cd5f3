"""A run's scores as records of Every Eval Ever 0.3 (evaleval/every_eval_ever), a file for each cell.

What the schema has no place for stands as text in `additional_details` and `details`: the judges, whether they were
calibrated, the marks of a score, its coverage.
"""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from harness.core.canonical import Json, digest
from harness.core.lines import write_json
from harness.record.run import CellRecord, JudgeRecord, MetricRecord
from harness.report.groups import single
from harness.report.load import RunData
from harness.report.measure import MARKS, Estimate, Measures
from harness.report.model_card import HUB_DATASETS
from harness.report.tables import benchmark_title

SCHEMA = "0.3.0"
_CALIBRATED = {True: "yes", False: "no", None: "a program judges"}


def write_records(run: RunData, out: Path, organization: str = "unknown") -> list[Path]:
    """Write `data/RUN/RUN/CELL/UUID.json` for each cell with a score into `out`; returns the files.

    A file's name follows from run and cell, so that a second call writes the same files.
    """
    measures, files = Measures(run), []
    for cell in run.cells:
        results = list(_results(run, measures, cell))
        if not results:
            continue
        model = f"{_plain(run.name)}/{_plain(cell.cell)}"
        name = uuid.UUID(
            digest([run.name, run.created, cell.cell])[:32], version=4
        )  # the schema wants a name like that
        path = out / "data" / _plain(run.name) / model / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, _record(run, cell, model, organization) | {"evaluation_results": results})
        files.append(path)
    return files


def _record(run: RunData, cell: CellRecord, model: str, organization: str) -> dict[str, Json]:
    created = datetime.fromisoformat(run.created)
    time = str(int(created.timestamp()))
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"{_plain(run.name)}/{model.replace('/', '_')}/{time}",
        "evaluation_timestamp": run.created,
        "retrieved_timestamp": time,
        "source_metadata": {
            "source_name": run.name,
            "source_type": "evaluation_run",
            "source_organization_name": organization,
            "evaluator_relationship": "first_party",
            "additional_details": {"command": run.command, "git_commit": str(run.git.get("commit", ""))},
        },
        "eval_library": {"name": "harness", "version": str(run.versions.get("harness", "unknown"))},
        "model_info": {
            "name": single(cell).title,
            "id": model,
            "additional_details": {"deployment_type": "self_deployed", "model_availability": "unknown"},
        },
    }


def _results(run: RunData, measures: Measures, cell: CellRecord) -> Iterator[dict[str, Json]]:
    for metric in (m for m in run.metrics if m.headline):
        estimate = measures.estimate(single(cell), metric)
        if estimate is not None and estimate.value is not None:
            yield {
                "evaluation_result_id": f"{metric.benchmark}.{metric.metric}",
                "evaluation_name": benchmark_title(metric.benchmark),
                "evaluation_timestamp": run.created,
                "source_data": _source(metric.benchmark),
                "metric_config": _metric(metric, [j for j in run.judges if j.benchmark == metric.benchmark]),
                "score_details": _score(estimate),
            }


def _source(benchmark: str) -> dict[str, Json]:
    repository = HUB_DATASETS.get(benchmark)
    kind = {"source_type": "hf_dataset", "hf_repo": repository} if repository else {"source_type": "other"}
    return {"dataset_name": benchmark_title(benchmark), **kind}


def _metric(metric: MetricRecord, judges: Sequence[JudgeRecord]) -> dict[str, Json]:
    config: dict[str, Json] = {
        "metric_id": f"{metric.benchmark}.{metric.metric}",
        "metric_name": metric.metric.replace("_", " "),
        "metric_unit": "percent" if metric.unit.startswith("%") else metric.unit,
        "lower_is_better": metric.direction == "lower",
    }
    of = {
        "judge": [judge.judge for judge in judges],
        "protocol": [judge.protocol for judge in judges],
        "calibrated": [_CALIBRATED[judge.calibrated] for judge in judges],
        "note": [judge.note for judge in judges if judge.note],
    }
    if said := {name: "; ".join(values) for name, values in of.items() if values}:
        config["additional_details"] = said
    return config


def _score(estimate: Estimate) -> dict[str, Json]:
    uncertainty: dict[str, Json] = {"num_samples": estimate.n}
    if estimate.stderr is not None:
        uncertainty["standard_error"] = {"value": estimate.stderr, "method": "analytic"}
    if estimate.low is not None and estimate.high is not None:
        bounds = {"lower": estimate.low, "upper": estimate.high, "confidence_level": 0.95}
        uncertainty["confidence_interval"] = bounds | {"method": "over questions, clustered"}
    details: Mapping[str, str] = {"scored_samples": str(estimate.n), "all_samples": str(estimate.total)}
    marks = "; ".join(MARKS[mark][1] for mark in estimate.marks)
    return {
        "score": estimate.value,
        "uncertainty": uncertainty,
        "details": {**details, "marks": marks} if marks else dict(details),
    }


def _plain(name: str) -> str:
    """As a part of a path, and of a model's id: letters, digits and _ . -"""
    return re.sub(r"[^\w.-]+", "-", name)
