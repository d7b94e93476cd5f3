"""Where the uncertainty of a run's differences comes from: what to add, questions, seeds or draws."""

from collections import Counter
from collections.abc import Sequence

from harness.report.comparisons import Comparison
from harness.report.load import RunData
from harness.report.tables import Column, Entry, Table, metric_title


def variance_table(run: RunData, compared: Sequence[Comparison]) -> Table | None:
    """Per metric the shares of the variance of its differences, in %, over all comparisons; None without any spread."""
    by_metric: dict[str, Counter[str]] = {}
    for c in compared:
        if c.difference is not None:
            of_metric = by_metric.setdefault(metric_title(c.metric, run), Counter())
            of_metric.update(c.difference.spread.shares())
            of_metric["comparisons"] += 1
    known = {metric: parts for metric, parts in by_metric.items() if _total(parts) > 0}
    if not known:
        return None
    paired = any(c.difference is not None and c.difference.draws for c in compared)
    seeds = any(parts["seeds"] for parts in known.values())
    together = ", ".join(source for source in run.drawn if not (seeds and source == "training"))
    columns = (
        Column("metric", "metric"),
        Column("comparisons", "comparisons", "", "number"),
        Column("questions", "questions", "%", "number"),
        *([Column("seeds", "seeds within a draw", "%", "number")] if seeds else []),
        Column("replicates", f"draws ({together})" if paired else "training", "%", "number"),
    )
    rows: list[tuple[Entry, ...]] = [
        (metric, str(int(parts["comparisons"])), *(100 * parts[c.key] / _total(parts) for c in columns[2:]))
        for metric, parts in known.items()
    ]
    return Table("variance", "Where the uncertainty comes from", columns, tuple(rows), _notes(run, paired, together))


def _total(parts: Counter[str]) -> float:
    return sum(value for part, value in parts.items() if part != "comparisons")


def _notes(run: RunData, paired: bool, together: str) -> tuple[str, ...]:
    notes = ["Shares of the variance of the differences: what has the largest share is what to have more of."]
    if not paired:
        notes.append(
            "Teacher and data are not in it where a run has a single draw of them (`draws` in the recipe), "
            "and training is not where it has a single seed."
        )
    elif "," in together:
        apart = "`draws: {of: [teacher]}` with the others held tells them apart"
        notes.append(f"What a draw makes anew together ({together}) has a single share: {apart}.")
    return tuple(notes)
