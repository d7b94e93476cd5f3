"""The judges of a run, as its record names them."""

from dataclasses import replace
from functools import partial

from harness.calibration import calibration
from harness.plan.build import Evaluated, Plan
from harness.record.run import JudgeRecord
from harness.stages.api import Stage
from harness.stages.judge import resolved
from harness.store.store import Store


def judges(plan: Plan, store: Store) -> tuple[JudgeRecord, ...]:
    """Who judges which benchmark, and what is known of them."""
    records = (replace(describe(e.benchmark, judged.verdicts, store), panel=panel(e)) for _, e, judged in plan.judged)
    return tuple(dict.fromkeys(records))


def panel(evaluated: Evaluated) -> str:
    """The names of a panel's judges; "" for a single judge."""
    return together(evaluated) if len(evaluated.judged) > 1 else ""


def together(evaluated: Evaluated) -> str:
    """What a report calls the judge of a benchmark, or its panel."""
    return " + ".join(name(judged.verdicts) for judged in evaluated.judged)


def name(stage: Stage) -> str:
    """What a report calls the judge behind a stage of verdicts or rewards."""
    judge = stage.params["judge"]
    return f"program:{judge['program']}" if "program" in judge else str(judge["model"])


def describe(benchmark: str, stage: Stage, store: Store) -> JudgeRecord:
    """What a report says of the judge behind a verdict stage."""
    judge = stage.params["judge"]
    if "program" in judge:
        note = "checked by a program"
        return JudgeRecord(benchmark=benchmark, judge=name(stage), protocol="program", calibrated=True, note=note)
    describe_as = partial(JudgeRecord, benchmark=benchmark, judge=name(stage), protocol=judge["protocol"])
    known = calibration.find(calibration.records(store), resolved(stage.params, stage.execution).digest)
    if known is None:
        note = "no calibration on record: compare rows with each other, not with published scores"
        return describe_as(calibrated=False, note=note)
    return describe_as(calibrated=True, uninformative=not known.informative, note=known.note)
