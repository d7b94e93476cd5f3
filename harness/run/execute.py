"""The executor: runs ready stages in groups that share a session, on this machine's cores and GPUs or a cluster's.

The driver (this process) only schedules, asks judges and keeps the ledger. Stages run in worker processes started from
a fork server, or as tasks of a Ray cluster. A failure stops only the stages that depend on it; a damaged input is made
again.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import TypeAlias

from harness.core.errors import HarnessError
from harness.judge.budget import Budgets
from harness.plan.needs import graph, to_build
from harness.run import worker
from harness.run.cluster import Cluster
from harness.run.events import Ended, Event, Listener, Started
from harness.stages.api import Stage
from harness.stages.runner import Order, read_order, write_orders
from harness.store.ledger import Ledger
from harness.store.store import Store
from harness.store.upkeep import damages, discard

_BUSY_WAIT_S = 1.0
_MOST_QUEUED = 256
"""Sessions that are handed to a cluster at a time; it queues those that have no room yet."""

Channel: TypeAlias = "connection.Connection[None, Event]"


@dataclass
class Outcome:
    """The stages of a run by outcome."""

    built: list[str] = field(default_factory=list)
    """Stages that this run executed."""
    found: list[str] = field(default_factory=list)
    """Stages that were in the store already."""
    failed: dict[str, str] = field(default_factory=dict)
    """Stage id -> error."""
    blocked: list[str] = field(default_factory=list)
    """Stages that did not run because a stage that they depend on failed, or with `fail_fast` any stage."""
    seconds: float = 0.0


@dataclass
class _Group:
    """Stages under way in a process or thread."""

    stages: list[Stage]
    channel: Channel
    gpus: tuple[str, ...]
    slots: int
    stop: Callable[[], None]


def execute(
    stages: Mapping[str, Stage],
    store: Store,
    *,
    run: str,
    jobs: int,
    gpus: Sequence[str],
    listen: Listener,
    budgets: Budgets | None = None,
    fail_fast: bool = False,
    cluster: Cluster | None = None,
) -> Outcome:
    """Run the stages that are not in the store. Ctrl-C stops the workers and raises KeyboardInterrupt.

    `budgets` limits the cost of all judges together. After a failure the stages that do not depend on it go on; with
    `fail_fast` the first failure stops the workers, like Ctrl-C. With a `cluster`, `jobs` and `gpus` are for the stages
    that stay on this machine: judges that the harness serves.

    Raises:
        HarnessError: a stage asks for more GPUs than there are.
    """
    clock = time.monotonic()
    to_run = to_build(graph(stages), store)
    if to_run and list(_drop_damaged(stages, to_run, store, listen)):
        to_run = to_build(graph(stages), store)
    outcome = Outcome(found=[i for i in stages if i not in to_run and store.has(i)])
    if missing := {i: stage for i, stage in stages.items() if i in to_run}:
        machines = _Machines(jobs, tuple(gpus), cluster)
        machines.check(missing.values())
        write_orders(store, missing.values())
        scheduler = _Scheduler(stages, missing, store, run, machines, budgets or Budgets(), listen, outcome)
        scheduler.loop(fail_fast)
    outcome.seconds = time.monotonic() - clock
    return outcome


def _drop_damaged(stages: Mapping[str, Stage], to_run: set[str], store: Store, listen: Listener) -> Iterator[str]:
    """Discard damaged verdicts and scores here, because they are read after the run and no stage checks them before."""
    stored = (i for i, stage in stages.items() if i not in to_run and stage.place == "driver" and store.has(i))
    for damage in damages(store, stored):
        if discard(store, damage.stage):
            listen(Ended(damage.stage, stages[damage.stage].title, "damaged", error=damage.what, input=damage.stage))
            yield damage.stage


@dataclass(frozen=True)
class _Machines:
    """The machines that stages run on."""

    jobs: int
    gpus: tuple[str, ...]
    """This machine's."""
    cluster: Cluster | None

    def check(self, stages: Iterable[Stage]) -> None:
        """HarnessError where a stage asks for more GPUs than its machine has."""
        for stage in stages:
            on_cluster = self.cluster is not None and stage.place == "worker"
            offered = self.cluster.gpus_of_a_node if self.cluster is not None and on_cluster else len(self.gpus)
            machine = "a node of the cluster" if on_cluster else "this machine"
            if stage.gpus > offered:
                raise HarnessError(
                    f"asks for {stage.gpus} GPU(s), {machine} offers {offered}",
                    where=stage.title,
                    fix="Lower `resources.gpus` in the recipe (--set resources.gpus=0 runs on the CPU).",
                )


class _Scheduler:
    """The loop: start the ready stages that fit, receive events, until no stage is left."""

    def __init__(
        self,
        stages: Mapping[str, Stage],
        missing: dict[str, Stage],
        store: Store,
        run: str,
        machines: _Machines,
        budgets: Budgets,
        listen: Listener,
        outcome: Outcome,
    ) -> None:
        self.pending, self.store, self.run, self.listen, self.outcome = missing, store, run, listen, outcome
        self.stages, self.cluster, self.budgets = stages, machines.cluster, budgets
        self.waiting_for = {i: {g.id for g in s.inputs.values() if g.id in missing} for i, s in missing.items()}
        self.consumers: dict[str, list[str]] = {}
        for stage_id, waiting in self.waiting_for.items():
            for source in waiting:
                self.consumers.setdefault(source, []).append(stage_id)
        self.slots, self.free_gpus = machines.jobs, list(machines.gpus)
        self.threads = max(1, (os.cpu_count() or 1) // machines.jobs)
        self.groups: list[_Group] = []
        self.busy_until: dict[str, float] = {}
        self.rows: dict[str, int] = {}
        self.damaged: set[tuple[str, str]] = set()
        """(stage, input) that were reported; a second report fails the stage: a broken disk damages inputs again."""
        self.ledger = Ledger(store.ledger)

    def loop(self, fail_fast: bool) -> None:
        """Run until every stage is built, failed or blocked; with `fail_fast`, until any stage has failed."""
        try:
            while (self.pending or self.groups) and not (fail_fast and self.outcome.failed):
                self._start_what_fits()
                if not self.groups and not self.busy_until:
                    break
                self._hear()
        finally:
            for group in self.groups:
                group.stop()
            self.ledger.close()
        self.outcome.blocked = list(self.pending)

    def _ready(self) -> list[list[Stage]]:
        """Groups of ready stages. Judges that the harness serves come last, so that a start of their server serves as
        many stages as possible."""
        now = time.monotonic()
        groups: dict[str, list[Stage]] = {}
        for stage_id, stage in self.pending.items():
            if not self.waiting_for[stage_id] and self.busy_until.get(stage_id, 0.0) <= now:
                groups.setdefault(stage.session or stage_id, []).append(stage)
        return sorted(groups.values(), key=lambda g: g[0].place == "driver" and not g[0].light)

    def _start_what_fits(self) -> None:
        for stages in self._ready():
            first = stages[0]
            on_cluster = self.cluster is not None and first.place == "worker"
            if on_cluster and len(self.groups) >= _MOST_QUEUED:
                continue
            slots, gpu_count = (0, 0) if on_cluster else (0 if first.light else 1, first.gpus)
            if slots > self.slots or gpu_count > len(self.free_gpus):
                continue
            if first.place == "driver" and not first.light and self._more_to_come(first.session):
                continue
            gpus = tuple(self.free_gpus.pop(0) for _ in range(gpu_count))
            self.slots -= slots
            for stage in stages:
                del self.pending[stage.id]
                self.busy_until.pop(stage.id, None)
            self.groups.append(self._start(stages, gpus, slots))

    def _more_to_come(self, session: str) -> bool:
        """Whether further stages of this session may become ready through work that goes on or could start."""
        rest = [s for s in self.pending.values() if s.session == session and self.waiting_for[s.id]]
        return bool(rest) and bool(self.groups or any(g[0].place == "worker" for g in self._ready()))

    def _start(self, stages: list[Stage], gpus: tuple[str, ...], slots: int) -> _Group:
        orders = tuple(read_order(self.store, stage.id) for stage in stages)
        if stages[0].place == "driver":
            channel, stop = self._thread(orders, gpus)
        elif self.cluster is not None:
            channel, stop = self.cluster.start(orders, stages[0].gpus)
        else:
            channel, stop = worker.start(worker.Assignment(self.store.root, orders, self.threads, gpus))
        return _Group(stages, channel, gpus, slots, stop)

    def _thread(self, orders: tuple[Order, ...], gpus: tuple[str, ...]) -> tuple[Channel, Callable[[], None]]:
        """Run driver stages in a daemon thread, which ends with the driver; so do the servers that it started."""
        receiver, sender = connection.Pipe(duplex=False)
        arguments = (self.store, orders, gpus, sender, self.budgets)
        threading.Thread(target=worker.run_orders, args=arguments, daemon=True).start()
        return receiver, lambda: None

    def _hear(self) -> None:
        channels = {group.channel: group for group in self.groups}
        for channel in connection.wait(list(channels), timeout=_BUSY_WAIT_S):
            group = channels[channel]  # type: ignore[index]
            try:
                self._take(group, group.channel.recv())
            except EOFError:
                self._over(group)

    def _take(self, group: _Group, event: Event) -> None:
        self.listen(event)
        if isinstance(event, Started):
            self.rows[event.stage] = self._row(event.stage)
        if not isinstance(event, Ended):
            return
        stage = next(s for s in group.stages if s.id == event.stage)
        group.stages.remove(stage)
        self.ledger.stage_ended(self.rows.pop(event.stage), event.status, event.error)
        if event.status == "busy":
            self.pending[stage.id] = stage
            self.busy_until[stage.id] = time.monotonic() + _BUSY_WAIT_S
        elif event.status == "damaged" and (stage.id, event.input) not in self.damaged:
            self.damaged.add((stage.id, event.input))
            self.pending[stage.id] = stage
            self._make_again(event.input)
        elif event.status in ("failed", "damaged"):
            self.outcome.failed[stage.id] = event.error
        else:
            (self.outcome.built if event.status == "built" else self.outcome.found).append(stage.id)
            for consumer in self.consumers.get(stage.id, ()):
                self.waiting_for[consumer].discard(stage.id)

    def _make_again(self, damaged: str) -> None:
        """Plan a damaged artifact again, with its inputs that are gone; the stages that need it wait for it."""
        under_way = {*self.pending, *(stage.id for group in self.groups for stage in group.stages)}
        if damaged not in under_way and any(damages(self.store, [damaged])):  # no other process has mended it meanwhile
            discard(self.store, damaged)
            below = {s.id: s for s in self.stages[damaged].walk() if not s.is_leaf}
            absent = to_build(graph(below), self.store)
            again = {i: stage for i, stage in below.items() if i in absent}
            write_orders(self.store, again.values())
            self.pending |= again
            under_way |= again.keys()
            self.outcome.found = [i for i in self.outcome.found if i not in again]
        unbuilt = under_way | self.outcome.failed.keys()
        for stage_id, stage in self.pending.items():
            self.waiting_for[stage_id] = {g.id for g in stage.inputs.values() if g.id in unbuilt}
            for source in self.waiting_for[stage_id]:
                self.consumers.setdefault(source, []).append(stage_id)

    def _row(self, stage_id: str) -> int:
        return self.ledger.stage_started(stage_id, self.run, self.stages[stage_id].kind)

    def _over(self, group: _Group) -> None:
        """A process or thread has ended; stages whose end it did not report have failed."""
        group.stop()
        for stage in list(group.stages):
            fix = "Run again: finished work is kept. If memory ran out, lower the batch size."
            reason = str(HarnessError("the worker process died", where=stage.title, fix=fix))
            if stage.id not in self.rows:
                self.rows[stage.id] = self._row(stage.id)
            self._take(group, Ended(stage.id, stage.title, "failed", 0.0, reason))
        self.groups.remove(group)
        self.slots += group.slots
        self.free_gpus.extend(group.gpus)
