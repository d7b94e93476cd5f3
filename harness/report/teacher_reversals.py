"""Is the stronger teacher the better one? Pairs of teachers whose students say otherwise, tested."""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd

from harness.record.run import MetricRecord
from harness.report.groups import Group
from harness.report.load import RunData
from harness.report.measure import Estimate, Measures
from harness.report.tables import Column, Table
from harness.report.teachers import TeacherData, strengths
from harness.stats.intervals import Difference
from harness.stats.multiplicity import holm

LEVEL = 0.05
"""Family-wise, by Holm over every pair of teachers of different strength on every student base."""


@dataclass(frozen=True)
class Pair:
    """Two teachers of different strength on one student base, and what their students' outcomes differ by."""

    student: str
    stronger: str
    weaker: str
    difference: Difference | None
    """Of the weaker teacher's students against the stronger's; None where it cannot be tested."""


def reversals_table(data: TeacherData, metric: tuple[str, str], name: str) -> Table:
    """The pairs in which the students of the weaker teacher did better, by Holm's corrected p."""
    assert data.run is not None, "asked for only where students were trained"
    known = next(m for m in data.run.metrics if (m.benchmark, m.metric) == metric)
    strength = strengths(data, metric)
    pairs = _pairs(data, data.run, known, strength)
    corrected = holm([pair.difference.p if pair.difference else None for pair in pairs])
    sign = 1 if known.direction == "higher" else -1
    found = [
        (pair, pair.difference, p)
        for pair, p in zip(pairs, corrected, strict=True)
        if pair.difference is not None and p is not None and p < LEVEL and sign * pair.difference.value > 0
    ]
    found.sort(key=lambda case: -sign * case[1].value)
    rows = tuple(
        (x.student, x.stronger, float(strength[x.stronger]), x.weaker, float(strength[x.weaker]), _estimate(d), p)
        for x, d, p in found
    )
    columns = (
        Column("student", "student base"),
        Column("stronger", "stronger teacher"),
        Column("strength", "its strength", "", "number"),
        Column("weaker", "weaker teacher"),
        Column("weaker_strength", "its strength", "", "number"),
        Column("difference", "its students differ by", known.unit, "estimate"),
        Column("p_holm", "p (Holm)", "", "p"),
    )
    title = f"{'.'.join(metric)}: stronger teacher, worse student"
    return Table(name, title, columns, rows, _notes(sum(p is not None for p in corrected), len(rows)))


def _notes(tests: int, found: int) -> tuple[str, ...]:
    verdict = f"{found} of them" if found else "none of them: no such case was found"
    return (
        f"{tests} pairs of teachers whose strengths differ were compared on their student bases, paired over the "
        f"questions; the students of the weaker teacher did better (p below {LEVEL:g} after Holm) in {verdict}.",
        "A teacher's strength is its own score as the recipe gives it, else as measured in this run.",
    )


def _pairs(data: TeacherData, run: RunData, metric: MetricRecord, strength: "pd.Series[float]") -> list[Pair]:
    cells = {cell.cell: cell for cell in run.cells}
    groups = {
        (pair.student, pair.teacher): Group(pair.teacher, (), tuple(cells[name] for name in pair.cells))
        for pair in data.pairs
    }
    measures = Measures(run)
    return [
        Pair(base, stronger, weaker, measures.difference(groups[base, weaker], groups[base, stronger], metric))
        for (base, stronger), (other, weaker) in permutations(groups, 2)
        if base == other and strength.get(stronger, np.nan) > strength.get(weaker, np.nan)
    ]


def _estimate(d: Difference) -> Estimate:
    return Estimate(d.value, d.low, d.high, d.stderr, d.clusters, d.clusters, min(d.seeds))
