"""A benchmark's scores by a live judge, audited by a reference on a random share of the same answers.

The questions are drawn once for all models. For each metric M of a judged benchmark there are two more: `M_audited`,
whose samples are what each question contributes to the audited score, so that their mean is the score; and
`M_reference`, the reference's own samples. See `harness.stats.audit`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from harness.bench.api import SCORE_COLUMNS, Metric, Question
from harness.core.seeds import derive_seed
from harness.judge.settings import DrawSettings
from harness.stats.audit import FEWEST, Audited, Judged, audit
from harness.stats.intervals import Interval, mean_interval
from harness.stats.spread import Rows

AUDITED, REFERENCE = "_audited", "_reference"
"""What is added to a metric's name."""


@dataclass(frozen=True)
class AuditedScore:
    """A score of one cell: by the live judge, audited, and by the reference's verdicts alone; in the metric's unit."""

    benchmark: str
    metric: str
    """That of the live judge."""
    live: float
    """By the live judge's verdicts on all answers."""
    value: float
    """Audited; so are `low` and `high`, 95 % bounds."""
    low: float | None
    high: float | None
    reference_value: float
    """By the reference's verdicts alone."""
    reference_low: float | None
    reference_high: float | None
    weight: float
    """Of the live judge, 0 to 1."""
    questions: int
    audited: int
    """Questions that both judges have a value for."""
    effective: float | None
    """How many audited questions would tell as much without the live judge."""


def drawn(questions: Sequence[Question], settings: DrawSettings) -> list[str]:
    """The ids of the questions that are audited, in the order of the draw; a larger audit begins with the smaller one.

    Stratified by category: within a category the order is random, and the categories take turns by their size, each
    from a random start, so that every question has the same chance.
    """
    rng = np.random.default_rng(derive_seed(settings.seed, "audit", *sorted(q.id for q in questions)))
    categories: dict[str, list[str]] = {}
    for question in sorted(questions, key=lambda q: q.id):
        categories.setdefault(question.category, []).append(question.id)
    places: list[tuple[float, str]] = []
    for category in sorted(categories):
        ids = categories[category]
        starts = (np.arange(len(ids)) + rng.uniform()) / len(ids)
        places += zip(starts.tolist(), (ids[k] for k in rng.permutation(len(ids))), strict=True)
    return [item for _, item in sorted(places)][: settings.size(len(questions))]


def audited_metrics(metrics: Sequence[Metric], audited: Callable[[Metric], bool]) -> tuple[Metric, ...]:
    """The metrics with those of an audit, which take the headlines; what is not `audited` is no headline beside it."""
    whole: list[Metric] = []
    for metric in metrics:
        whole.append(replace(metric, headline=False))
        if audited(metric):
            whole.append(replace(metric, name=metric.name + AUDITED, binary=False, rate=False, audits=metric.name))
            whole.append(replace(metric, name=metric.name + REFERENCE, headline=False))
    return tuple(whole)


@dataclass(frozen=True)
class AuditOfMetric:
    """What an audit adds to one metric of a cell."""

    samples: pd.DataFrame
    scores: pd.DataFrame
    """SCORE_COLUMNS"""
    made: AuditedScore | None
    """None with too few audited questions: the audited score has no value then."""


def audit_metric(name: str, samples: pd.DataFrame, reference: pd.DataFrame, fewest: int = FEWEST) -> AuditOfMetric:
    """The audit of one metric: `samples` are the live judge's of all answers, `reference` the reference's of some."""
    every, labels = (table[table["metric"] == name] for table in (samples, reference))
    live = every[every["value"].notna()]
    labels = labels[labels["value"].notna() & labels["cluster"].isin(live["cluster"])]
    result = audit(Judged(scored_rows(live), scored_rows(labels)))
    result = result if result is not None and result.audited >= fewest else None
    benchmark = str(samples["benchmark"].iloc[0])
    more = [labels.assign(metric=name + REFERENCE)]
    alone = mean_interval([scored_rows(labels)])
    rows = [
        _score_row(benchmark, name + AUDITED, result.score if result else None, len(live), len(every)),
        _score_row(benchmark, name + REFERENCE, alone, len(labels), len(labels)),
    ]
    if result is not None:
        more.append(_contributions(result.contributions, live, name + AUDITED))
    scores = pd.DataFrame(rows, columns=list(SCORE_COLUMNS)).astype({"value": "Float64", "stderr": "Float64"})
    return AuditOfMetric(pd.concat(more), scores, _audited_score(benchmark, name, result) if result else None)


def _score_row(benchmark: str, metric: str, interval: Interval | None, n: int, total: int) -> tuple[object, ...]:
    value, stderr = (interval.value, interval.stderr) if interval else (None, None)
    return benchmark, metric, "overall", value, stderr, n, total


def _contributions(contributions: Rows, live: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A sample for each question, which is like the first of its live ones."""
    firsts = live.drop_duplicates("cluster").set_index("cluster", drop=False).loc[contributions.clusters.tolist()]
    values = pd.array(contributions.values, dtype="Float64")
    made: pd.DataFrame = firsts.assign(
        metric=metric, item=firsts["cluster"], turn=1, repeat=0, value=values, status="ok"
    )
    return made


def _audited_score(benchmark: str, metric: str, result: Audited) -> AuditedScore:
    score, reference = result.score, result.reference
    return AuditedScore(
        benchmark,
        metric,
        result.live,
        score.value,
        score.low,
        score.high,
        reference.value,
        reference.low,
        reference.high,
        result.weight,
        len(result.contributions.values),
        result.audited,
        result.effective,
    )


def labelled(samples: pd.DataFrame, metric: str, labels: Mapping[tuple[str, int], float]) -> pd.DataFrame:
    """The reference's samples of a metric, from its values by item and turn, in the metric's unit.

    A question that is labelled in part has none: its other turn may be the hard one.
    """
    live = samples[(samples["metric"] == metric) & samples["value"].notna()]
    first = live.drop_duplicates(["item", "turn"]).assign(repeat=0, status="ok")
    values = [labels.get(unit) for unit in zip(first["item"], first["turn"], strict=True)]
    first["value"] = pd.array(values, dtype="Float64")
    return first[~first["cluster"].isin(first.loc[first["value"].isna(), "cluster"])]


def scored_rows(frame: pd.DataFrame) -> Rows:
    """The samples of a metric that have a value, paired by item and turn."""
    frame = frame[frame["value"].notna()]
    units = np.empty(len(frame), dtype=object)
    units[:] = list(zip(frame["item"], frame["turn"], strict=True))
    return Rows(frame["value"].to_numpy(dtype=float), frame["cluster"].to_numpy(), units)
