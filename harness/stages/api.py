"""What a stage is: a pure function of parameters and input artifacts to an output folder, named before it runs."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from harness.core.canonical import Json, digest
from harness.core.plugins import Plugin
from harness.judge.budget import Budgets
from harness.store.store import Store

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Stage:
    """One node of the plan. Two stages with the same identity are one unit of work."""

    kind: str
    version: int
    params: Mapping[str, Json]
    """Everything that determines the result and is not an input artifact."""
    inputs: Mapping[str, "Stage"] = field(default_factory=dict)
    execution: Mapping[str, Json] = field(default_factory=dict)
    """What changes no result: paths of pinned files, concurrency, time-outs."""
    session: str = ""
    """Ready stages with the same session key run in one process, one after the other, sharing what it loaded."""
    gpus: int = 0
    place: Literal["worker", "driver"] = "worker"
    """Judge stages run in the driver, beside the ledger; all else in a worker process."""
    light: bool = False
    """Needs no core worth counting (waits for a network, adds up a table): takes no job slot."""
    title: str = ""
    """What progress lines call it."""
    plugins: Mapping[str, Plugin] = field(default_factory=dict)
    """The plug-ins whose code it runs: each is part of its identity, as its file's digest."""
    path: Path | None = None
    """Set for a leaf: a file or folder pinned by the digest in `params`. A leaf is never run; this is its place."""

    @property
    def identity(self) -> dict[str, Json]:
        """What the id is the digest of."""
        inputs = {name: stage.id for name, stage in self.inputs.items()}
        whole = {"kind": self.kind, "version": self.version, "params": dict(self.params), "inputs": inputs}
        plugins = {name: plugin.identity for name, plugin in self.plugins.items()}
        return whole | ({"plugins": plugins} if plugins else {})

    @cached_property
    def id(self) -> str:
        """SHA-256 of the canonical identity, in hex."""
        return digest(self.identity)

    @property
    def is_leaf(self) -> bool:
        """A pinned file or folder, which is never run."""
        return self.path is not None

    def walk(self, seen: set[str] | None = None) -> Iterator["Stage"]:
        """This stage and all it stands on, inputs first, each id once."""
        found: list[Stage] = []
        self._gather(set() if seen is None else seen, found)
        return iter(found)

    def _gather(self, seen: set[str], found: list["Stage"]) -> None:
        if self.id in seen:
            return
        seen.add(self.id)
        for stage in self.inputs.values():
            stage._gather(seen, found)
        found.append(self)


class Progress(Protocol):
    """Where a stage says how far it is."""

    def __call__(self, done: int, total: int, unit: str, **values: float | str) -> None:
        """`done` of `total` `unit`s (steps, samples, verdicts); values such as loss=1.2 are shown beside."""
        ...


@dataclass
class Context:
    """What a running stage has."""

    id: str
    params: Mapping[str, Json]
    execution: Mapping[str, Json]
    inputs: Mapping[str, Path]
    """Folders of the finished input artifacts."""
    out: Path
    """The folder to fill. It becomes the artifact as it is when `run` returns."""
    work: Path
    """Work in progress that survives a kill and is removed at commit: journals, step checkpoints."""
    progress: Progress
    store: Store
    session: "Session"
    """What stages of one session share, e.g. the loaded engine."""


class Session:
    """What the stages of one process share, loaded once and closed at its end."""

    def __init__(self, gpus: Sequence[str] = (), budgets: Budgets | None = None) -> None:
        self.gpus = tuple(gpus)
        """The GPUs this session may use."""
        self.budgets = budgets or Budgets()
        """What judges may cost; shared by all sessions of a run."""
        self.checked: set[str] = set()
        """Artifacts that were read whole and found to be what was stored."""
        self._loaded: dict[str, Any] = {}
        self._stack = contextlib.ExitStack()

    def get(self, key: str, load: Callable[[], contextlib.AbstractContextManager[T]]) -> T:
        """The thing under `key`, entered on first use."""
        if key not in self._loaded:
            self._loaded[key] = self._stack.enter_context(load())
        thing: T = self._loaded[key]
        return thing

    def close(self) -> None:
        """Leave everything that was entered."""
        self._loaded.clear()
        self._stack.close()


@dataclass(frozen=True)
class Kind:
    """A kind of stage: its name, its version (raised when the same parameters mean something new) and its code."""

    name: str
    version: int
    run: Callable[[Context], None]
    bulk: tuple[str, ...] = ()
    """What of its output a recipe's `keep` may evict: names in its folder, `*` and all; never what a table reads."""
