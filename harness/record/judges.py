"""The judges of a run, as its record names them."""

from harness.calibration import calibration
from harness.core.canonical import Json, digest
from harness.plan.build import Plan
from harness.stages.api import Stage
from harness.stages.judge import resolved
from harness.store.store import Store


def judges(plan: Plan, store: Store) -> list[dict[str, Json]]:
    """Who judges which benchmark, and what is known of them."""
    every = ({"benchmark": e.benchmark} | describe(judged.verdicts, store) for _, e, judged in plan.judged)
    return list({digest(row): row for row in every}.values())


def describe(stage: Stage, store: Store) -> dict[str, Json]:
    """What a report says of the judge behind a verdict stage.

    `calibrated` is true of a program, which needs no calibration, and of a judge whose calibration is in the store;
    `uninformative` of one that its calibration found to be of no use.
    """
    judge = stage.params["judge"]
    if "program" in judge:
        name = f"program:{judge['program']}"
        return {"judge": name, "protocol": "program", "calibrated": True, "note": "checked by a program"}
    facts = {"judge": judge["model"], "protocol": judge["protocol"]}
    known = calibration.find(calibration.records(store), resolved(stage.params, stage.execution).digest)
    if known is None:
        note = "no calibration on record: compare rows with each other, not with published scores"
        return facts | {"calibrated": False, "note": note}
    return facts | {"calibrated": True, "uninformative": not known.informative, "note": known.note}
