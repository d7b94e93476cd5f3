"""What each cell cost: floating-point operations of training, time of its stages, judge calls and their price."""

from collections.abc import Mapping

from harness.report.load import RunData
from harness.report.numbers import duration, si
from harness.report.tables import Column, Entry, Shown, Table

_PHASES = {"training": ("train",), "answering": ("answer", "respond", "measure"), "judging": ("judge",)}
"""Column -> kinds of stages."""


def cost_table(run: RunData) -> Table | None:
    """A row per cell, a column per thing that is known of at least one; None where nothing is."""
    flops: dict[str, float] = {}
    for step in run.training:
        if step.train_flops is not None:
            flops[step.cell] = flops.get(step.cell, 0.0) + step.train_flops
    costs = {c.cell: c for c in run.costs}
    columns: list[tuple[Column, Mapping[str, Entry]]] = [
        (Column("train_flops", "training", "FLOPs", "number"), {c: Shown(v, si(v)) for c, v in flops.items()})
    ]
    for phase, kinds in _PHASES.items():
        found = _known({c: sum(i.seconds.get(k, 0.0) for k in kinds) for c, i in costs.items()})
        columns.append(
            (_number(f"{phase}_seconds", phase, "time"), {c: Shown(v, duration(v)) for c, v in found.items()})
        )
    whole = _known({c: sum(i.seconds.values()) for c, i in costs.items()})
    columns.append((_number("seconds", "all stages", "time"), {c: Shown(v, duration(v)) for c, v in whole.items()}))
    for key, title in (("judge_calls", "judge calls"), ("judge_tokens", "judge tokens")):
        found = _known({c: float(getattr(i, key)) for c, i in costs.items()})
        columns.append((_number(key, title), {c: Shown(v, f"{v:,.0f}") for c, v in found.items()}))
    prices = {c: Shown(i.price_usd, f"{i.price_usd:.2f}") for c, i in costs.items() if i.price_usd is not None}
    columns.append((_number("price_usd", "judge", "US dollars"), prices))
    kept = [(column, values) for column, values in columns if values]
    cells = [c.cell for c in run.cells if any(c.cell in values for _, values in kept)]
    rows = tuple((cell, *(values.get(cell) for _, values in kept)) for cell in cells)
    notes = ("Stages that cells share count for each of them; the time of the run counts them once.",) if costs else ()
    return (
        Table("costs", "Cost of each cell", (Column("cell", "cell"), *(c for c, _ in kept)), rows, notes)
        if rows
        else None
    )


def _known(values: Mapping[str, float]) -> dict[str, float]:
    """Cells for which the value is not nothing."""
    return {cell: value for cell, value in values.items() if value > 0}


def _number(key: str, title: str, unit: str = "") -> Column:
    return Column(key, title, unit, "number")
