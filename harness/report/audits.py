"""The table of audited scores: the live judge's, what its audit makes of them, and the reference's alone."""

from harness.record.run import AuditRecord
from harness.report.load import RunData
from harness.report.measure import Estimate
from harness.report.tables import Column, Shown, Table, benchmark_title

_NOTES = (
    "The reference judged a random share of the questions, the same for all cells; audited, a score is what it would "
    "have said of all of them (PPI++ with the live judge's verdicts).",
    "The live judge is worth the further questions that the reference alone had to judge for an error as small.",
)


def audit_table(run: RunData) -> Table | None:
    """A row per cell and audited metric; None for a run without audits."""
    columns = (
        Column("cell", "cell"),
        Column("metric", "metric"),
        Column("live", "live judge", kind="estimate"),
        Column("audited", "audited", kind="estimate"),
        Column("reference", "reference alone", kind="estimate"),
        Column("change", "the audit changed it by", kind="estimate"),
        Column("labels", "audited questions", kind="number"),
        Column("worth", "the live judge is worth", kind="number"),
        Column("price", "price of the audit", kind="number"),
        Column("judges", "live judge, reference"),
    )
    return Table("audits", "Audits", columns, tuple(map(_row, run.audits)), _NOTES) if run.audits else None


def _row(made: AuditRecord) -> tuple[str | Estimate | Shown | None, ...]:
    def estimate(value: float, low: float | None = None, high: float | None = None) -> Estimate:
        return Estimate(value, low, high, None, 0, 0, 0)

    worth = None if made.effective is None else made.effective - made.audited
    price = "\N{EN DASH}" if made.price_usd is None else f"${made.price_usd:.2f}"
    return (
        made.cell,
        f"{benchmark_title(made.benchmark)} {made.metric.replace('_', ' ')}",
        estimate(made.live),
        estimate(made.value, made.low, made.high),
        estimate(made.reference_value, made.reference_low, made.reference_high),
        estimate(made.value - made.live),
        Shown(made.audited, f"{made.audited} of {made.questions}"),
        Shown(worth, "\N{EN DASH}" if worth is None else f"{worth:.0f} more"),
        Shown(made.price_usd, price),
        f"{made.judge}, {made.reference}",
    )
