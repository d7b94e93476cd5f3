"""A run's comparisons beside the same comparisons in a new draw: what held, and what did not."""

from collections.abc import Sequence

from harness.report.comparisons import Comparison, shown
from harness.report.load import RunData
from harness.report.tables import Column, Table, metric_title


def replication_table(run: RunData, before: Sequence[Comparison], anew: Sequence[Comparison]) -> Table:
    """A row for each comparison that both runs have."""
    again = {_key(c): c for c in anew}
    pairs = [(c, again[_key(c)]) for c in before if _key(c) in again]
    columns = (
        Column("cell", "cell"),
        Column("baseline", "against"),
        Column("metric", "metric"),
        Column("difference", "in the run", "metric's unit", "estimate"),
        Column("verdict", "verdict", "", "words"),
        Column("drawn", "over", "", "words"),
        Column("new_difference", "in the new draw", "metric's unit", "estimate"),
        Column("new_verdict", "verdict there", "", "words"),
        Column("held", "held", "", "words"),
    )
    rows = tuple(
        (
            *(old.group.title, old.base.title, metric_title(old.metric, run)),
            *(shown(old), old.verdict, old.reach.words),
            *(shown(new), new.verdict, held(old, new)),
        )
        for old, new in pairs
    )
    notes = (
        "Held: a difference that the run calls better or worse has its sign again in the new draw; 'shown again' where "
        "the new draw alone calls it so, too. What the run does not call is no claim that could hold.",
    )
    return Table("replication", "In a new draw", columns, rows, notes)


def held(old: Comparison, new: Comparison) -> str:
    """Whether a verdict held in the new draw; empty where the run claims nothing, or the new draw has no difference."""
    if old.verdict not in ("better", "worse") or old.difference is None or new.difference is None:
        return ""
    if old.difference.value * new.difference.value <= 0:
        return "no"
    return "yes, shown again" if new.verdict == old.verdict else "yes"


def _key(c: Comparison) -> tuple[str, str, str, str]:
    return c.group.name, c.base.name, c.metric.benchmark, c.metric.metric
