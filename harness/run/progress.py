"""How far the running stages are: written by the driver, read by `status` and `watch`."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from harness.core.canonical import Json
from harness.core.lines import write_atomically
from harness.record.folder import RunFolder, find_run
from harness.record.stages import named_stages
from harness.run.events import Advanced, Ended, Event, Listener
from harness.store.ledger import Ledger
from harness.store.store import Store

_EVERY_S = 1.0


@dataclass
class Running:
    """A stage under way."""

    title: str
    since: float
    """Seconds since the epoch."""
    done: int = 0
    total: int = 0
    """0 while it is unknown."""
    unit: str = ""
    values: dict[str, float | str] = field(default_factory=dict)
    """Further numbers, e.g. the loss."""


@dataclass(frozen=True)
class Spent:
    """A judge's calls since this run began, and their cost."""

    judge: str
    calls: int
    usd: float
    unpriced: int
    """Calls whose price is not known."""


@dataclass(frozen=True)
class Snapshot:
    """A run at a moment."""

    run: str
    alive: bool
    """Whether its driver is running."""
    kinds: Mapping[str, Counter[str]]
    """Stages by kind, in the order of the graph, and by state: done, running, failed, waiting."""
    running: Mapping[str, Running]
    judges: tuple[Spent, ...]

    @property
    def states(self) -> Counter[str]:
        """The states of all stages together."""
        return sum(self.kinds.values(), Counter[str]())


class Recorder:
    """A listener that passes events on, and writes `progress.json` from the first event until its context ends."""

    def __init__(self, folder: RunFolder, store: Store, judges: Mapping[str, str], listen: Listener) -> None:
        """`judges` maps digests to names."""
        self.path, self.listen, self.running, self.written = _path(folder), listen, dict[str, Running](), 0.0
        with Ledger(store.ledger) as ledger:
            before = {cost.judge: asdict(cost) for cost in ledger.costs() if cost.judge in judges}
        process = psutil.Process()
        self.head = {"pid": process.pid, "process_started": process.create_time(), "host": os.uname().nodename}
        self.head |= {"judges": judges, "before": before}

    def __call__(self, event: Event) -> None:
        """Pass the event on, and write the file at most once a second."""
        self.listen(event)
        if isinstance(event, Ended):
            self.running.pop(event.stage, None)
        elif isinstance(event, Advanced):
            stage = self.running[event.stage]
            stage.done, stage.total, stage.unit, stage.values = event.done, event.total, event.unit, event.values
        else:
            self.running[event.stage] = Running(event.title, time.time())
        if time.monotonic() - self.written >= _EVERY_S:
            self._write()

    def _write(self) -> None:
        self.written = time.monotonic()
        write_atomically(
            self.path, json.dumps(self.head | {"running": {i: asdict(r) for i, r in self.running.items()}})
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.written:
            self.path.unlink(missing_ok=True)


def snapshot(results: Path, run: str) -> Snapshot:
    """The present state of a run.

    Raises:
        HarnessError: no such run.
    """
    store, folder = Store(results / "store"), find_run(results, run)
    stages, record = named_stages(folder.path), _record(_path(folder))
    missing = {stage for stage, _, _ in stages if not store.has(stage)}
    running = {i: Running(**record["running"][i]) for i in missing if i in record["running"]} if record else {}
    with Ledger(store.ledger) as ledger:
        failed = ledger.failures()
        now = {cost.judge: cost for cost in ledger.costs()} if record else {}
    kinds: dict[str, Counter[str]] = {}
    for stage, kind, _ in stages:
        state = "running" if stage in running else "failed" if stage in failed else "waiting"
        kinds.setdefault(kind, Counter())[state if stage in missing else "done"] += 1
    return Snapshot(folder.path.name, record is not None, kinds, running, tuple(_spent(record, now) if record else ()))


def _spent(record: Json, now: Mapping[str, Json]) -> Iterable[Spent]:
    nothing = {"calls": 0, "price_usd": 0.0, "unpriced": 0}
    for judge, name in record["judges"].items():
        then = record["before"].get(judge, nothing)
        costs = asdict(now[judge]) if judge in now else nothing
        calls, usd, unpriced = (costs[key] - then[key] for key in nothing)
        yield Spent(name, calls, usd, unpriced)


def _path(folder: RunFolder) -> Path:
    return folder.path / "progress.json"


def _record(path: Path) -> Json:
    """The content of `progress.json`; None if there is no such file, or its driver runs no longer."""
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return record if record["host"] != os.uname().nodename or _alive(record) else None


def _alive(record: Json) -> bool:
    try:
        return bool(psutil.Process(record["pid"]).create_time() == record["process_started"])
    except psutil.NoSuchProcess:
        return False
