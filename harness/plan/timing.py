"""How long the rest of a plan will take, by like stages that finished in this store, or by what a stage computes.

A stage in which no model is at work is expected to take the median seconds of the finished stages of its kind and class
(a score's class is its benchmark), or of its kind if its class has no finished stage. A stage with a model takes the
median of finished stages that did the same on a machine like this: of its kind, with models of equal sizes, the same
data and settings, seeds and the like aside (`alike`). Without such a stage it takes what its operations take at the
device's rate (`plan.work`), with a range. What neither tells counts as unknown. A run with `jobs` processes takes as
long as its longest chain of dependent stages, or as the work of all job slots divided by `jobs`, whichever is more.
The start of a run, and waits for GPUs and judges, are left out.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType

from harness.core.canonical import Json, digest
from harness.core.errors import HarnessError
from harness.plan.build import Plan
from harness.plan.work import NOTHING, Span
from harness.stages import average, command, dataset, encode, mix, pick, respond, reward_model, select, train, upcycle
from harness.stages import model as models
from harness.stages.api import Stage
from harness.store.ledger import Ledger
from harness.store.provenance import hardware
from harness.store.store import Store

_RECENT = 200
"""How many of the latest finished stages of a kind are looked at."""
_MODELS, _DATA = ("student", "model", "teacher", "base"), ("data", "prompts", "responses", "tokens", "candidates")
"""Names of a stage's inputs that are models and datasets."""
_CHANGES_NO_TIME = (
    *("seed", "data_seed", "eval_seed", "sample_seed", "learning_rate", "schedule", "warmup_steps", "weight_decay"),
    *("max_grad_norm", "temperature", "divergence", "beta", "lambda_", "w_pred", "router_loss", "ratio", "expert"),
    *("experts", "reference", "part", "parts", "checkpoints", "held_out", "select", "domains"),
)
"""Parameters of a stage with a model that say nothing of how long it takes."""

Past = Mapping[tuple[str, str], float]
"""(kind, class) -> median seconds; an empty class stands for the whole kind. The class of a stage with a model is the
digest of all that makes it take as long as others."""


@dataclass(frozen=True)
class Known:
    """A stage, planned or finished, as far as its time is concerned."""

    kind: str
    params: Mapping[str, Json]
    inputs: Mapping[str, str]
    """Ids by name."""


Lookup = Callable[[str], Known | None]
"""A stage by its id; None for a leaf, and for what is gone."""


@dataclass(frozen=True)
class Timing:
    """The expected time of the stages that are still to run."""

    path: tuple[Stage, ...]
    """The critical path: the chain with the most expected seconds, in a tie the chain with more stages."""
    chain: Span
    """Of the critical path."""
    work: Span
    """Of the stages that take a job slot, one after the other."""
    unknown: Mapping[str, int]
    """Kind -> number of stages to run whose time nothing tells; they count as 0 seconds."""

    @property
    def path_seconds(self) -> float:
        """The expected seconds of the critical path."""
        return self.chain.expected

    @property
    def work_seconds(self) -> float:
        """The expected seconds of all work."""
        return self.work.expected

    def span(self, jobs: int) -> Span:
        """The expected time of a run, with its range; a lower bound if any stage is unknown."""
        each = self.work * (1 / jobs)
        return Span(
            max(self.chain.least, each.least), max(self.chain.expected, each.expected), max(self.chain.most, each.most)
        )

    def seconds(self, jobs: int) -> float:
        """The expected time of a run; a lower bound if any stage is unknown."""
        return self.span(jobs).expected


def timing(to_run: Iterable[Stage], spans: Mapping[str, Span]) -> Timing:
    """The expected time of stages that are still to run, each given after its inputs; `spans` are known by id."""
    ends: dict[str, tuple[Span, int]] = {}
    """Stage -> the time and the stages of the longest chain that ends with it."""
    before: dict[str, str | None] = {}
    stages: dict[str, Stage] = {}
    work, unknown = NOTHING, Counter[str]()

    def length(stage_id: str) -> tuple[float, int]:
        taken, count = ends[stage_id]
        return taken.expected, count

    for stage in to_run:
        stages[stage.id], seconds = stage, spans.get(stage.id)
        awaited = [made.id for made in stage.inputs.values() if made.id in ends]
        longest = max(awaited, key=length) if awaited else None
        taken, count = ends[longest] if longest else (NOTHING, 0)
        if seconds is None:
            unknown[stage.kind] += 1
        else:
            taken += seconds
            work += NOTHING if stage.light else seconds
        ends[stage.id], before[stage.id] = (taken, count + 1), longest
    last = max(ends, key=length, default=None)
    path, node = list[Stage](), last
    while node is not None:
        path.append(stages[node])
        node = before[node]
    return Timing(tuple(reversed(path)), ends[last][0] if last else NOTHING, work, unknown)


def expected(stage: Stage, past: Past, lookup: Lookup) -> float | None:
    """Seconds by finished stages; None where no stage like this has run."""
    if not past:
        return None
    planned = known(stage)
    taken = past.get((stage.kind, alike(planned, lookup)))
    return past.get((stage.kind, "")) if taken is None and not with_model(planned) else taken


def with_model(stage: Known) -> bool:
    """Whether a model is at work in a stage."""
    return any(name in _MODELS for name in stage.inputs)


def known(stage: Stage) -> Known:
    """A planned stage as `alike` reads it."""
    return Known(stage.kind, stage.params, {name: made.id for name, made in stage.inputs.items()})


def alike(stage: Known, lookup: Lookup) -> str:
    """A name for stages of a kind that take about equally long; empty where the whole kind does."""
    if not with_model(stage):
        return str(stage.params.get("step") or stage.params.get("benchmark") or "")
    is_model = {name: name in _MODELS or ":" in name for name in stage.inputs}
    models_of = {name: _model(id_, lookup) for name, id_ in stage.inputs.items() if is_model[name]}
    data = {name: _data(id_, lookup) for name, id_ in stage.inputs.items() if name in _DATA}
    return digest([_lasting(dict(stage.params)), models_of, data])


def _lasting(params: Json) -> Json:
    """Parameters without those that change no time, at every depth."""
    if isinstance(params, Mapping):
        return {name: _lasting(value) for name, value in params.items() if name not in _CHANGES_NO_TIME}
    return params


def _model(stage_id: str, lookup: Lookup) -> Json:
    """What a model's size follows from: what its trainings started from, a pocket model without its seed."""
    made = lookup(stage_id)
    if made is None:
        return stage_id
    match made.kind:
        case models.POCKET.name:
            return _lasting(made.params["spec"]) | {"experts": made.params["spec"]["experts"]}
        case upcycle.KIND.name:
            return [_model(made.inputs["model"], lookup), made.params["experts"], made.params["per_token"]]
        case train.KIND.name | command.KIND.name:
            return _model(made.inputs["student"], lookup)
        case select.KIND.name:
            return _model(made.inputs["candidate:0"], lookup)
        case models.TEMPLATE.name | average.KIND.name:
            return _model(made.inputs["model"], lookup)
        case reward_model.KIND.name:
            return _model(made.inputs["base"], lookup)
    return stage_id


def _data(stage_id: str, lookup: Lookup) -> Json:
    """What a dataset's size follows from: its files and settings, seeds aside."""
    made = lookup(stage_id)
    if made is None:
        return stage_id
    match made.kind:
        case dataset.KIND.name:
            return [_lasting(dict(made.params)), sorted(made.inputs.values())]
        case mix.KIND.name:
            return [made.params["examples"], *(_data(part, lookup) for part in made.inputs.values())]
        case respond.KIND.name:
            return _data(made.inputs["prompts"], lookup)
        case pick.KIND.name:
            return _data(made.inputs["candidates"], lookup)
        case encode.KIND.name:
            return _data(made.inputs["data"], lookup)
    return stage_id


def medians(runs: Iterable[tuple[str, str, bool, float]]) -> Past:
    """The medians of runs given as (kind, class, whether a model was at work, seconds)."""
    taken: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for kind, of, modelled, seconds in runs:
        for key in {(kind, of)} if modelled else {(kind, of), (kind, "")}:
            taken[key].append(seconds)
    return {key: median(times) for key, times in taken.items()}


def recorded(plan: Plan, store: Store) -> tuple[Past, Lookup]:
    """The medians of the latest stages of each kind that finished on a machine like this, of any run; and how they
    were looked up. The store is only read."""
    finished: dict[str, Known | None] = {}

    def lookup(stage_id: str) -> Known | None:
        if stage_id in plan.stages:
            return known(plan.stages[stage_id])
        if stage_id not in finished:
            finished[stage_id] = _finished(stage_id, store)
        return finished[stage_id]

    if not store.ledger.exists():
        return MappingProxyType({}), lookup
    with Ledger(store.ledger) as ledger:
        runs = ledger.stage_seconds(_RECENT)
    rows = []
    for stage_id, kind, seconds in runs:
        made = lookup(stage_id)
        if made is None:  # its artifact has been removed, so that it counts for its kind alone, if that tells anything
            rows.append((kind, "", False, seconds))
        elif not with_model(made) or _on_like_machine(stage_id, store):
            rows.append((kind, alike(made, lookup), with_model(made), seconds))
    return medians(rows), lookup


def _finished(stage_id: str, store: Store) -> Known | None:
    if not store.has(stage_id):
        return None
    try:
        identity = store.record(stage_id)["identity"]
    except HarnessError:  # a damaged record, which its readers report
        return None
    return Known(identity["kind"], identity["params"], identity.get("inputs", {}))


def _on_like_machine(stage_id: str, store: Store) -> bool:
    """Whether a finished stage ran on this machine's processor and as many GPUs."""
    if not store.has(stage_id):
        return False
    ran, here = store.record(stage_id)["provenance"].get("hardware", {}), hardware()
    return all(ran.get(name) == here[name] for name in ("cpu", "gpus"))
