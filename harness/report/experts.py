"""How evenly the routers of mixtures spread the benchmarks' tokens over their experts."""

import math
from collections.abc import Sequence

import pandas as pd

from harness.report.groups import Group
from harness.report.load import RunData
from harness.report.measure import OVERALL
from harness.report.numbers import number
from harness.report.tables import Column, Entry, Shown, Table, benchmark_title


def router_table(run: RunData, groups: Sequence[Group]) -> Table | None:
    """Router entropy of each mixture on each benchmark, over layers and seeds; None without mixtures."""
    rows: list[tuple[Entry, ...]] = []
    for group in groups:
        mine = run.experts[run.experts["cell"].isin([c.cell for c in group.cells])]
        rows += [
            (group.title, benchmark_title(str(benchmark)), *_measures(frame))
            for benchmark, frame in mine.groupby("benchmark", sort=False)
        ]
    columns = (
        Column("cell", "cell"),
        Column("benchmark", "benchmark"),
        Column("experts", "experts", kind="number"),
        Column("layers", "layers", kind="number"),
        Column("entropy", "router entropy", "nats", "number"),
        Column("even", "most it could be", "nats", "number"),
        Column("lowest", "lowest layer", "nats", "number"),
        Column("busiest", "busiest expert", "% of tokens", "number"),
    )
    notes = (
        "Entropy of the mean router distribution over all categories, averaged over layers and seeds; its most is that "
        "of an even spread, 0 is one expert for all. The busiest expert is that of any one layer.",
    )
    return Table("router", "Router entropy", columns, tuple(rows), notes) if rows else None


def _measures(frame: pd.DataFrame) -> tuple[Shown, ...]:
    whole = frame[frame["category"] == OVERALL]
    frame = frame if whole.empty else whole
    entropy = frame.groupby(["cell", "category", "layer"])["entropy"].first()
    experts, layers = frame["expert"].nunique(), frame["layer"].nunique()
    lowest = float(entropy.groupby("layer").mean().min())
    busiest = float(frame.groupby(["layer", "expert"])["share"].mean().max())
    return (
        Shown(experts, str(experts)),
        Shown(layers, str(layers)),
        *(Shown(v, number(v, 3)) for v in (float(entropy.mean()), math.log(experts), lowest)),
        Shown(busiest, f"{100 * busiest:.1f}"),
    )
