"""The table of a panel of judges: its score beside each judge's own, how far they agree, the ranks without each."""

from collections.abc import Iterator, Sequence

import numpy as np

from harness.core.seeds import derive_seed
from harness.record.run import MetricRecord
from harness.report.groups import Group, group_cells
from harness.report.load import RunData
from harness.report.measure import NOT_RANKED, Estimate, Measures
from harness.report.tables import Column, Entry, Shown, Table, benchmark_title, mark_notes
from harness.stats.agreement import alpha
from harness.stats.bootstrap import bootstrap_ci


def panel_tables(run: RunData, measures: Measures) -> list[Table]:
    """A table per metric that a panel judged; a row per row of the report."""
    metrics = {(m.benchmark, m.metric): m for m in run.metrics if not m.judge}
    judged: dict[tuple[str, str], list[MetricRecord]] = {}
    for metric in (m for m in run.metrics if m.judge):
        judged.setdefault((metric.benchmark, metric.shared), []).append(metric)
    return [_table(run, measures, metrics[key], own) for key, own in judged.items()]


def _table(run: RunData, measures: Measures, panel: MetricRecord, own: Sequence[MetricRecord]) -> Table:
    groups = group_cells(run)
    scores = [[measures.estimate(g, m) for m in (panel, *own)] for g in groups]
    ranks = _ranks(panel, scores)
    columns = (
        Column("cell", "cell"),
        Column("panel", "panel", panel.unit, "estimate"),
        *(Column(f"by_{m.judge}", m.judge, panel.unit, "estimate") for m in own),
        Column("rank", "rank", kind="number"),
        *(Column(f"rank_without_{m.judge}", f"rank without {m.judge}", kind="number") for m in own),
    )
    rows = tuple((g.title, *row, *of) for g, row, of in zip(groups, scores, ranks, strict=True))
    title = f"Panel of judges, {benchmark_title(panel.benchmark)} {panel.metric.replace('_', ' ')}"
    name = f"panel_{panel.benchmark}_{panel.metric}"
    return Table(name, title, columns, rows, (*_notes(run, measures, groups, own), *mark_notes(rows)))


def _notes(run: RunData, measures: Measures, groups: Sequence[Group], own: Sequence[MetricRecord]) -> Iterator[str]:
    yield _agreement(measures, groups, own)
    yield (
        "The panel's score is the mean of its judges over the answers on which all gave a verdict; each judge's own is "
        "over all that it gave. Ranks are by mean; without a judge they are by the mean of the others' own scores."
    )


def _agreement(measures: Measures, groups: Sequence[Group], own: Sequence[MetricRecord]) -> str:
    """Krippendorff's alpha over all answers, its interval over questions."""
    units: dict[tuple[str, object], int] = {}
    values: list[dict[int, float]] = []
    questions: dict[int, object] = {}
    for metric in own:
        of_judge: dict[int, list[float]] = {}
        for cell in dict.fromkeys(cell for g in groups for cell in g.replicates()):
            rows = measures.rows(cell, metric)
            for value, question, unit in zip(rows.values, rows.clusters, rows.units, strict=True):
                place = units.setdefault((cell, unit), len(units))
                of_judge.setdefault(place, []).append(float(value))
                questions[place] = question
        values.append({place: float(np.mean(alike)) for place, alike in of_judge.items()})
    table = np.full((len(own), len(units)), np.nan)
    for judge, of in enumerate(values):
        table[judge, list(of)] = list(of.values())
    value = alpha(table)
    if value is None:
        return "Krippendorff's alpha of the judges is undefined: all verdicts are equal, or on no answer are there two."
    clusters = np.array([str(questions[place]) for place in range(len(units))])
    seed = derive_seed("panel", own[0].benchmark, own[0].metric)
    bounds = bootstrap_ci(clusters, lambda rows: alpha(table[:, rows]) or 0.0, seed=seed, resamples=1000)
    interval = f" [{bounds[0]:.2f}, {bounds[1]:.2f}]" if bounds else ""
    both = int((np.isfinite(table).sum(axis=0) > 1).sum())
    return (
        f"The judges agree with Krippendorff's alpha {value:.2f}{interval} (interval data) on {both} of {len(units)} "
        "answers that two or more of them judged: 1 is agreement, 0 chance."
    )


def _ranks(panel: MetricRecord, scores: Sequence[Sequence[Estimate | None]]) -> list[list[Entry]]:
    """Per row the rank by the panel, then without each judge; none for a row that is not ranked or lacks a score."""
    sign = -1 if panel.direction == "higher" else 1
    ranked = {
        k: [float(e.value) for e in row if e is not None and e.value is not None]
        for k, row in enumerate(scores)
        if all(e is not None and e.value is not None for e in row) and row[0] and not NOT_RANKED & set(row[0].marks)
    }
    judges = len(scores[0]) - 1 if scores else 0
    kept = [[0], *([j for j in range(1, judges + 1) if j != out] for out in range(1, judges + 1))]
    means = {k: [sign * float(np.mean([row[j] for j in some])) for some in kept] for k, row in ranked.items()}
    return [
        [_rank([of[c] for of in means.values()], means[k][c]) if k in means else None for c in range(len(kept))]
        for k in range(len(scores))
    ]


def _rank(values: Sequence[float], value: float) -> Shown:
    place = 1 + sum(other < value for other in values)
    return Shown(place, str(place))
