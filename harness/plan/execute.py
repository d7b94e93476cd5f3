"""The local executor: ready stages in groups that share a load, on the cores and GPUs of this machine.

The driver (this process) only schedules, asks judges and keeps the ledger. Stages run in worker processes started from
a fork server. What fails stops only what stands on it.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection

from harness.core.errors import HarnessError
from harness.judge.budget import Budgets
from harness.plan import worker
from harness.plan.events import Ended, Event, Listener, Started
from harness.plan.needs import graph, to_build
from harness.stages.api import Stage
from harness.stages.runner import Order, read_order, write_orders
from harness.store.ledger import Ledger
from harness.store.store import Store

_BUSY_WAIT_S = 1.0


@dataclass
class Outcome:
    """What a run did."""

    built: list[str] = field(default_factory=list)
    """Stages that this run executed."""
    found: list[str] = field(default_factory=list)
    """Stages that were there already."""
    failed: dict[str, str] = field(default_factory=dict)
    """Stage id -> what went wrong."""
    blocked: list[str] = field(default_factory=list)
    """Stages that did not run because something they stand on failed, or anything did and that was to end it all."""
    seconds: float = 0.0


@dataclass
class _Group:
    """Stages under way in one process or thread."""

    stages: list[Stage]
    channel: "connection.Connection[None, Event]"
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
) -> Outcome:
    """Run what is not in the store. On Ctrl-C the workers are stopped and KeyboardInterrupt goes on.

    `budgets` limits what all judges together may cost. What does not stand on a failed stage goes on, unless
    `fail_fast`: then the first failure stops the workers, as Ctrl-C does.

    Raises:
        HarnessError: a stage asks for more GPUs than there are.
    """
    clock = time.monotonic()
    wanted = to_build(graph(stages), store)
    outcome = Outcome(found=[i for i in stages if i not in wanted and store.has(i)])
    missing = {i: stage for i, stage in stages.items() if i in wanted}
    if missing:
        _check_gpus(missing.values(), gpus)
        write_orders(store, missing.values())
        _Scheduler(missing, store, run, jobs, list(gpus), listen, outcome, budgets or Budgets()).loop(fail_fast)
    outcome.seconds = time.monotonic() - clock
    return outcome


def _check_gpus(stages: Iterable[Stage], gpus: Sequence[str]) -> None:
    for stage in stages:
        if stage.gpus > len(gpus):
            raise HarnessError(
                f"asks for {stage.gpus} GPU(s), this machine offers {len(gpus)}",
                where=stage.title,
                fix="Lower `resources.gpus` in the recipe (--set resources.gpus=0 runs on the CPU).",
            )


class _Scheduler:
    """The loop: start what is ready and fits, hear what happens, until nothing is left."""

    def __init__(
        self,
        missing: dict[str, Stage],
        store: Store,
        run: str,
        jobs: int,
        gpus: list[str],
        listen: Listener,
        outcome: Outcome,
        budgets: Budgets,
    ) -> None:
        self.pending, self.store, self.run, self.listen, self.outcome = missing, store, run, listen, outcome
        self.waiting_for = {i: {g.id for g in s.inputs.values() if g.id in missing} for i, s in missing.items()}
        self.slots, self.free_gpus, self.budgets = jobs, gpus, budgets
        self.threads = max(1, (os.cpu_count() or 1) // jobs)
        self.groups: list[_Group] = []
        self.busy_until: dict[str, float] = {}
        self.rows: dict[str, int] = {}
        self.kinds = {i: s.kind for i, s in missing.items()}
        self.ledger = Ledger(store.ledger)
        # Threads that spin while they wait make two busy processes four times slower than threads that sleep, and with
        # huge pages a training step spends less on fresh memory (`benchmarks/dae_step.py`). Both are read once, when
        # the fork server imports torch.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["harness.plan.preload"])

    def loop(self, fail_fast: bool) -> None:
        """Run until every stage is built, failed or blocked; or, to fail fast, until one has failed."""
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
        """Groups of ready stages; those that take a job slot in the driver (a judge we serve) last, so that one start
        of the server serves as many as possible."""
        now = time.monotonic()
        groups: dict[str, list[Stage]] = {}
        for stage_id, stage in self.pending.items():
            if not self.waiting_for[stage_id] and self.busy_until.get(stage_id, 0.0) <= now:
                groups.setdefault(stage.session or stage_id, []).append(stage)
        return sorted(groups.values(), key=lambda g: g[0].place == "driver" and not g[0].light)

    def _start_what_fits(self) -> None:
        for stages in self._ready():
            first = stages[0]
            slots = 0 if first.light else 1
            if slots > self.slots or first.gpus > len(self.free_gpus):
                continue
            if first.place == "driver" and not first.light and self._more_to_come(first.session):
                continue
            gpus = tuple(self.free_gpus.pop(0) for _ in range(first.gpus))
            self.slots -= slots
            for stage in stages:
                del self.pending[stage.id]
                self.busy_until.pop(stage.id, None)
            self.groups.append(self._start(stages, gpus, slots))

    def _more_to_come(self, session: str) -> bool:
        """Whether stages of this session are still to become ready while other work goes on or could."""
        rest = [s for s in self.pending.values() if s.session == session and self.waiting_for[s.id]]
        return bool(rest) and bool(self.groups or any(g[0].place == "worker" for g in self._ready()))

    def _start(self, stages: list[Stage], gpus: tuple[str, ...], slots: int) -> _Group:
        orders = tuple(read_order(self.store, stage.id) for stage in stages)
        receiver, sender = connection.Pipe(duplex=False)
        if stages[0].place == "driver":
            return _Group(stages, receiver, gpus, slots, self._thread(orders, sender, gpus))
        return _Group(stages, receiver, gpus, slots, self._process(orders, sender, gpus))

    def _thread(
        self, orders: tuple[Order, ...], sender: "connection.Connection[Event, None]", gpus: tuple[str, ...]
    ) -> Callable[[], None]:
        """Driver stages run in a daemon thread: stopping the driver stops it, and its servers die with the driver."""
        given = (self.store, orders, gpus, sender, self.budgets)
        threading.Thread(target=worker.run_orders, args=given, daemon=True).start()
        return lambda: None

    def _process(
        self, orders: tuple[Order, ...], sender: "connection.Connection[Event, None]", gpus: tuple[str, ...]
    ) -> Callable[[], None]:
        assignment = worker.Assignment(self.store.root, orders, self.threads, gpus)
        process = self.context.Process(target=worker.work, args=(assignment, sender))
        process.start()
        sender.close()  # the worker has its own end: when it dies, ours reads end of file

        def stop() -> None:
            if process.pid is not None and process.is_alive():
                with contextlib.suppress(ProcessLookupError):  # it may end by itself at this very moment
                    os.kill(process.pid, signal.SIGKILL)  # everything that matters is synced line by line
            process.join()

        return stop

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
        elif event.status == "failed":
            self.outcome.failed[stage.id] = event.error
        else:
            (self.outcome.built if event.status == "built" else self.outcome.found).append(stage.id)
            for waiting in self.waiting_for.values():
                waiting.discard(stage.id)

    def _row(self, stage_id: str) -> int:
        return self.ledger.stage_started(stage_id, self.run, self.kinds[stage_id])

    def _over(self, group: _Group) -> None:
        """A process or thread has ended; what it did not report on died with it."""
        group.stop()
        for stage in list(group.stages):
            fix = "Run again: what it had finished is kept. Out of memory? Lower the batch size."
            reason = str(HarnessError("the worker process died", where=stage.title, fix=fix))
            if stage.id not in self.rows:
                self.rows[stage.id] = self._row(stage.id)
            self._take(group, Ended(stage.id, stage.title, "failed", 0.0, reason))
        self.groups.remove(group)
        self.slots += group.slots
        self.free_gpus.extend(group.gpus)
