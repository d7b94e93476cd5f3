"""How long the rest of a plan will take, judged by similar stages that finished in this store.

A stage is expected to take the median seconds of the finished stages of its kind and class (a training's class is its
step, a benchmark stage's the benchmark), or of its kind if its class has no finished stage. A stage of a kind that
never ran counts as unknown. A run with `jobs` processes takes as long as its longest chain of dependent stages, or as
the work of all job slots divided by `jobs`, whichever is more. The start of a run, waits for GPUs and judges, and
differences of settings within a class are left out.
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
"""How many of the latest finished stages of a kind are looked at."""

Past = Mapping[tuple[str, str], float]
"""(kind, class) -> median seconds; an empty class stands for the whole kind."""


@dataclass(frozen=True)
class Timing:
    """The expected time of the stages that are still to run."""

    path: tuple[Stage, ...]
    """The critical path: the chain with the most expected seconds, in a tie the chain with more stages."""
    path_seconds: float
    work_seconds: float
    """Sum over the stages that take a job slot."""
    unknown: Mapping[str, int]
    """Kind -> number of stages to run, for kinds that never ran here; they count as 0 seconds."""

    def seconds(self, jobs: int) -> float:
        """The expected time of a run; a lower bound if any stage is unknown."""
        return max(self.path_seconds, self.work_seconds / jobs)


def timing(to_run: Iterable[Stage], past: Past) -> Timing:
    """The expected time of stages that are still to run, each given after its inputs."""
    ends: dict[str, tuple[float, int]] = {}
    """Stage -> seconds and stages of the longest chain that ends with it."""
    before: dict[str, str | None] = {}
    stages: dict[str, Stage] = {}
    work, unknown = 0.0, Counter[str]()
    for stage in to_run:
        stages[stage.id], stage_seconds = stage, expected(stage, past)
        unknown[stage.kind] += stage_seconds is None
        work += 0.0 if stage.light else stage_seconds or 0.0
        longest = max((i.id for i in stage.inputs.values() if i.id in ends), key=ends.__getitem__, default=None)
        seconds, count = ends[longest] if longest else (0.0, 0)
        ends[stage.id], before[stage.id] = (seconds + (stage_seconds or 0.0), count + 1), longest
    last = max(ends, key=ends.__getitem__, default=None)
    path, node = list[Stage](), last
    while node is not None:
        path.append(stages[node])
        node = before[node]
    return Timing(tuple(reversed(path)), ends[last][0] if last else 0.0, work, +unknown)


def expected(stage: Stage, past: Past) -> float | None:
    """Seconds; None where no stage of its kind has run."""
    return past.get((stage.kind, class_of(stage.params)), past.get((stage.kind, "")))


def class_of(params: Mapping[str, Json]) -> str:
    """A name for stages of a kind that take about equally long; empty where the whole kind does."""
    return str(params.get("step") or params.get("benchmark") or "")


def medians(runs: Iterable[tuple[str, str, float]]) -> Past:
    """The medians of runs given as (kind, class, seconds)."""
    taken: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for kind, of, seconds in runs:
        for key in {(kind, of), (kind, "")}:
            taken[key].append(seconds)
    return {key: median(times) for key, times in taken.items()}


def recorded(plan: Plan, store: Store) -> Past:
    """The medians of the latest finished stages of each kind, from any run; the store is only read."""
    if not store.ledger.exists():
        return {}
    with Ledger(store.ledger) as ledger:
        runs = ledger.stage_seconds(_RECENT)
    return medians((kind, _class(stage, plan, store), seconds) for stage, kind, seconds in runs)


def _class(stage_id: str, plan: Plan, store: Store) -> str:
    """The class of a finished stage; empty if its artifact has been removed, so that it counts for its kind alone."""
    if stage_id in plan.stages:
        return class_of(plan.stages[stage_id].params)
    return class_of(store.record(stage_id)["identity"]["params"]) if store.has(stage_id) else ""
