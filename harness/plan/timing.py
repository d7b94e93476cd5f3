"""How long what is left of a plan will take, by what stages like it took in this store.

The model is simple. A stage is expected to take the median seconds of the finished stages of its kind and class (of a
training its step, of a benchmark's stages the benchmark); where its class has none, of its kind; where its kind has
none, nothing is assumed: such stages are counted as unknown. A run with `jobs` processes takes as long as the longest
chain of stages that wait for each other, or as all work that takes a job slot shared among the jobs, whichever is more.
Not in it: the start of a run, GPUs and judges that are waited for, and that settings differ within a class.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from harness.core.canonical import Json
from harness.plan.build import Plan
from harness.stages.api import Stage
from harness.store.ledger import Ledger
from harness.store.store import Store

_RECENT = 200
"""Finished stages of a kind that are looked at: the latest."""

Past = Mapping[tuple[str, str], float]
"""(kind, class) -> median seconds; the class is empty for those of a kind together."""


@dataclass(frozen=True)
class Timing:
    """What is expected of the stages that are still to run."""

    path: tuple[Stage, ...]
    """The critical path: the chain with the most expected seconds, of equal ones the one of most stages."""
    path_seconds: float
    work_seconds: float
    """Of all stages that take a job slot."""
    unknown: Mapping[str, int]
    """Kind -> stages of which no kind has run here; they count for no time."""

    def seconds(self, jobs: int) -> float:
        """Expected of a run; at least that where something is unknown."""
        return max(self.path_seconds, self.work_seconds / jobs)


def timing(to_run: Iterable[Stage], past: Past) -> Timing:
    """The expected time of stages that are still to run, inputs before what stands on them."""
    ends: dict[str, tuple[float, int]] = {}
    """Stage -> seconds and stages of the longest chain that ends with it."""
    before: dict[str, str | None] = {}
    stages: dict[str, Stage] = {}
    work, unknown = 0.0, Counter[str]()
    for stage in to_run:
        stages[stage.id], own = stage, expected(stage, past)
        unknown[stage.kind] += own is None
        work += 0.0 if stage.light else own or 0.0
        longest = max((i.id for i in stage.inputs.values() if i.id in ends), key=ends.__getitem__, default=None)
        seconds, count = ends[longest] if longest else (0.0, 0)
        ends[stage.id], before[stage.id] = (seconds + (own or 0.0), count + 1), longest
    last = max(ends, key=ends.__getitem__, default=None)
    path, here = list[Stage](), last
    while here is not None:
        path.append(stages[here])
        here = before[here]
    return Timing(tuple(reversed(path)), ends[last][0] if last else 0.0, work, +unknown)


def expected(stage: Stage, past: Past) -> float | None:
    """Seconds; None where no stage of its kind has run."""
    return past.get((stage.kind, class_of(stage.params)), past.get((stage.kind, "")))


def class_of(params: Mapping[str, Json]) -> str:
    """What stages of a kind that take about as long have in common; empty where the kind says it all."""
    return str(params.get("step") or params.get("benchmark") or "")


def medians(runs: Iterable[tuple[str, str, float]]) -> Past:
    """Of (kind, class, seconds)."""
    taken: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for kind, of, seconds in runs:
        for key in {(kind, of), (kind, "")}:
            taken[key].append(seconds)
    return {key: median(times) for key, times in taken.items()}


def recorded(plan: Plan, store: Store) -> Past:
    """What the latest finished stages of each kind took, whichever run they were of; the store is only read."""
    if not store.ledger.exists():
        return {}
    with Ledger(store.ledger) as ledger:
        runs = ledger.stage_seconds(_RECENT)
    return medians((kind, _class(stage, plan, store), seconds) for stage, kind, seconds in runs)


def _class(stage_id: str, plan: Plan, store: Store) -> str:
    """The class of a finished stage; that of one whose artifact has been removed is not known, and no matter."""
    if stage_id in plan.stages:
        return class_of(plan.stages[stage_id].params)
    return class_of(store.record(stage_id)["identity"]["params"]) if store.has(stage_id) else ""
