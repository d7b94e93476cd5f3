"""What a run's record says of audited scores: what they are made of, what the audit cost, and where it fell short."""

from collections.abc import Iterator

from harness.plan.build import Evaluated
from harness.record import judges
from harness.record.judged import Judged
from harness.record.run import AuditRecord
from harness.stages import score
from harness.stages.api import Stage
from harness.store.store import Store


def audits(cell: str, evaluated: Evaluated, reference: Judged | None, store: Store) -> Iterator[AuditRecord]:
    """A row per audited metric of a cell whose scores are finished; `reference` is what a judge said that audits."""
    if not evaluated.judged:
        return
    prices = [price for _, price in reference.calls if price is not None] if reference is not None else []
    for made in score.read_audit(store.path(evaluated.score.id)):
        yield AuditRecord(
            cell=cell,
            judge=judges.together(evaluated),
            reference=_reference(evaluated.score),
            price_usd=sum(prices) if prices else None,
            **vars(made),
        )


def shortfalls(cell: str, evaluated: Evaluated, reference: Judged | None, store: Store) -> Iterator[str]:
    """Warnings: verdicts of the reference that failed, and audits of too few questions for a score."""
    failed = [v for v in reference.verdicts if v.reply.value is None] if reference is not None else []
    if failed:
        items = len({v.task.item for v in failed})
        yield (
            f"{evaluated.benchmark}: {len(failed)} verdicts of the reference {_reference(evaluated.score)} on {cell} "
            f"failed; the questions that they are on ({items}) are not audited."
        )
    made = {audited.metric for audited in score.read_audit(store.path(evaluated.score.id))}
    for metric in score.metrics(evaluated.score):
        if metric.audits and metric.audits not in made:
            yield (
                f"{evaluated.benchmark}: {metric.audits} of {cell} has no audited score, which needs "
                f"{metric.fewest_audited} questions that the reference {_reference(evaluated.score)} has judged too."
            )


def _reference(stage: Stage) -> str:
    """What a report calls the reference: a judge's name, or the name of a file of verdicts."""
    return judges.name(stage.inputs["audit"]) if "audit" in stage.inputs else stage.inputs["labels"].title
