"""How answers ended, beside the scores made of them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import pandas as pd

from harness.generate.api import Ending
from harness.record.tables import COMPLETE
from harness.report.groups import Group, group_cells
from harness.report.measure import Measures
from harness.report.numbers import digits, number
from harness.report.tables import Column, Entry, Shown, Table, benchmark_title, metric_title

ENDINGS: tuple[Ending, ...] = get_args(Ending)


def with_incomplete(table: Table, measures: Measures) -> Table:
    """The table of scores, a row per row of the report, with a column for each benchmark on which any answer is
    incomplete; else a note that every one is complete."""
    groups, columns = group_cells(measures.run), []
    known = dict.fromkeys(m.benchmark for m in measures.run.metrics if m.headline)
    shares = {b: [measures.incomplete(group, b) for group in groups] for b in known}
    shares = {b: of_rows for b, of_rows in shares.items() if any(share is not None for share in of_rows)}
    rows: list[tuple[Entry, ...]] = list(table.rows)
    for benchmark, of_rows in shares.items():
        if any(of_rows):
            title = f"{benchmark_title(benchmark)} incomplete"
            columns.append(Column(f"{benchmark}_incomplete", title, "% of answers", "number"))
            rows = [(*row, _percent(share)) for row, share in zip(rows, of_rows, strict=True)]
    note = "No answer was cut at the limit of its length, is empty or never left its thinking."
    if columns:
        note = "Incomplete: answers that were cut at the limit of their length, are empty or never left their thinking."
    notes = (*table.notes, note) if shares else table.notes
    return replace(table, columns=(*table.columns, *columns), rows=tuple(rows), notes=notes)


def ending_table(measures: Measures) -> Table | None:
    """A row per row of the report and benchmark whose answers are known: how they ended, and each headline score over
    complete answers alone; None where all are complete, or where no benchmark's are known."""
    rows: list[tuple[Entry, ...]] = []
    for benchmark in dict.fromkeys(m.benchmark for m in measures.run.metrics):
        for group in group_cells(measures.run):
            if ends := measures.endings(group, benchmark):
                answers = Shown(ends.total(), str(ends.total()))
                shares = [_percent(100 * ends[name] / ends.total()) for name in ENDINGS]
                over = "; ".join(_over_complete(measures, group, benchmark))
                rows.append((group.title, benchmark_title(benchmark), answers, *shares, over))
    if all(row[3] == _percent(100.0) for row in rows):
        return None
    columns = (
        Column("cell", "cell"),
        Column("benchmark", "benchmark"),
        Column("answers", "answers", kind="number"),
        *(Column(name, name, "%", "number") for name in ENDINGS),
        Column("complete_scores", "score over complete answers (over all)"),
    )
    note = (
        "Cut: the answer reached the limit of its length. Unfinished: it never left its thinking, and is not judged. "
        "Scores over complete answers leave out what a model was cut at, often its hardest questions: they show how "
        "much of a score the limit decides, and rank nobody."
    )
    return Table("endings", "How answers ended", columns, tuple(rows), (note,))


def _percent(share: float | None) -> Shown | None:
    return None if share is None else Shown(share, number(share, 1))


def _over_complete(measures: Measures, group: Group, benchmark: str) -> Iterator[str]:
    """Each headline score over complete answers, the mean over replicates, with the score over all behind."""
    scores, metrics = measures.run.scores, [m for m in measures.run.metrics if m.headline and m.benchmark == benchmark]
    mine = scores["cell"].isin(group.replicates()) & (scores["category"] == "overall")
    for metric in metrics:
        of_metric = scores[mine & (scores["benchmark"] == benchmark) & (scores["metric"] == metric.metric)]
        value, estimate = of_metric[COMPLETE].mean(), measures.estimate(group, metric)
        if pd.notna(value) and estimate is not None and estimate.value is not None:
            places = digits(estimate.stderr, estimate.value)
            name = f"{metric_title(metric, measures.run)} " if len(metrics) > 1 else ""
            yield f"{name}{number(float(value), places)} ({number(estimate.value, places)})"
