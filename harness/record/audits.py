"""What a run's record says of audited scores: what they are made of, and what the audit cost."""

from collections.abc import Iterator

from harness.plan.build import Evaluated, JudgedStages
from harness.record import judges
from harness.record.judged import Call, read_judged
from harness.record.run import AuditRecord
from harness.stages import score
from harness.stages.api import Stage
from harness.store.store import Store


def reference_calls(judged: JudgedStages, store: Store) -> list[Call]:
    """The calls of the reference judge that audits a cell's verdicts; empty without one."""
    if judged.audit is None:
        return []
    return read_judged("", "", JudgedStages(judged.answers, judged.audit), store).calls


def audits(cell: str, evaluated: Evaluated, store: Store) -> Iterator[AuditRecord]:
    """A row per audited metric of a finished cell."""
    judged = evaluated.judged
    if judged is None or not store.has(evaluated.score.id):
        return
    prices = [price for _, price in reference_calls(judged, store) if price is not None]
    for made in score.read_audit(store.path(evaluated.score.id)):
        yield AuditRecord(
            cell=cell,
            judge=judges.name(judged.verdicts),
            reference=_reference(evaluated.score),
            price_usd=sum(prices) if prices else None,
            **vars(made),
        )


def _reference(stage: Stage) -> str:
    """What a report calls the reference: a judge's name, or the name of a file of verdicts."""
    return judges.name(stage.inputs["audit"]) if "audit" in stage.inputs else stage.inputs["labels"].title
