"""A recipe's `keep`: weights are removed from the store as soon as no stage that is still to run needs them.

Weights that other runs of the results folder still need, or keep by their `keep`, stay.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.models.inventory import parameters
from harness.plan.needs import to_build
from harness.record.folder import RunFolder, read_plan
from harness.record.stages import read_stages
from harness.run.events import Ended, Event, Listener
from harness.stages.model import BROUGHT
from harness.stages.registry import KINDS
from harness.store.eviction import evict
from harness.store.store import Store

_ALL = frozenset({""})
"""Every part of a stage's output."""


@dataclass(frozen=True)
class _Run:
    """The parts of a run's plan that decide which weights stay."""

    keep: str
    finals: dict[str, list[str]]
    kinds: dict[str, str]
    graph: Mapping[str, Sequence[str]]

    @staticmethod
    def read(folder: RunFolder) -> "_Run":
        plan, stages = read_plan(folder), read_stages(folder.path)
        return _Run(
            plan.get("keep", "all"),
            plan.get("finals", {}),
            {stage_id: stage.kind for stage_id, stage in stages.items()},
            {stage_id: stage.inputs for stage_id, stage in stages.items()},
        )

    def keeps(self, stage: str) -> frozenset[str]:
        """The parts of a stage's output that stay after the run."""
        brought = all(self.kinds[source] in BROUGHT for source in (stage, *self.graph[stage]))
        if self.keep == "all" or (self.keep == "last" and brought):
            return _ALL
        return frozenset(self.finals.get(stage, ()) if self.keep == "last" else ())


class Keeper:
    """A listener that passes events on, and evicts weights that no stage needs any more.

    A failed eviction ends no run: `says` reports it at the end.
    """

    def __init__(self, folder: RunFolder, store: Store, listen: Listener) -> None:
        """The run's plan must be in its folder."""
        self._run, self._store, self._listen = _Run.read(folder), store, listen
        self._others = _OtherRuns(folder, store)
        self._pending = to_build(self._run.graph, store)
        self._waiting: dict[str, set[str]] = {}
        for stage in self._pending:
            for source in self._run.graph[stage]:
                self._waiting.setdefault(source, set()).add(stage)
        self._stages, self._bytes, self._trouble = 0, 0, dict[str, None]()

    def sweep(self) -> None:
        """Evict weights that earlier runs left, unless a stage of this run needs them."""
        for stage in self._run.graph:
            self._consider(stage)

    def __call__(self, event: Event) -> None:
        """Pass the event on; if a stage is done, evict those of its inputs that it was the last to need."""
        self._listen(event)
        if isinstance(event, Ended) and event.status == "damaged":
            self._await(event.input)
        if not isinstance(event, Ended) or event.status not in ("built", "found"):
            return
        self._pending.discard(event.stage)
        for source in self._run.graph.get(event.stage, ()):
            self._waiting.get(source, set()).discard(event.stage)
            self._consider(source)

    def says(self) -> list[str]:
        """Lines on the weights that were evicted, and on those that could not be."""
        setting = f"keep: {self._run.keep}"
        lines = [f"{setting}: some weights stay: {why}" for why in self._trouble]
        if self._stages:
            lines.insert(
                0, f"{setting}: removed the weights and tokens of {self._stages} stages, {self._bytes / 1e6:,.1f} MB"
            )
        return lines

    def _await(self, stage: str) -> None:
        """A stage that is made again needs its inputs again, and evicted inputs need theirs."""
        self._pending.add(stage)
        for source in self._run.graph.get(stage, ()):
            self._waiting.setdefault(source, set()).add(stage)
            if source in self._run.graph and source not in self._pending and not self._store.whole(source):
                self._await(source)

    def _consider(self, stage: str) -> None:
        kind = self._run.kinds.get(stage)
        if kind is None or not KINDS[kind].bulk or self._run.keeps(stage) == _ALL:  # a leaf has no kind
            return
        if stage in self._pending or self._waiting.get(stage):
            return
        try:
            freed = evict(
                self._store,
                stage,
                lambda files: self._free(stage, files),
                lambda evicted: {"parameters": self._parameters(stage, evicted)},
            )
        except (OSError, ValueError, KeyError, HarnessError) as error:  # also a damaged record or model
            self._trouble[str(error)] = None
            return
        if freed is not None:
            self._stages, self._bytes = self._stages + 1, self._bytes + freed

    def _free(self, stage: str, files: Iterable[str]) -> set[str]:
        """The files that are bulk and that no run needs or keeps."""
        stays, bulk = self._run.keeps(stage) | self._others.want(stage), KINDS[self._run.kinds[stage]].bulk
        if "" in stays:
            return set()
        tops = {name: Path(name).parts[0] for name in files}
        return {name for name, top in tops.items() if top not in stays and any(fnmatch(top, part) for part in bulk)}

    def _parameters(self, stage: str, evicted: set[str]) -> dict[str, Json]:
        """The parameters of each evicted model, by its folder in the output, because tables show them of teachers."""
        folder = self._store.path(stage)
        places = {Path(name).parent for name in evicted if name.endswith(".safetensors")}
        counts = {"" if place == Path() else place.as_posix(): parameters(folder / place) for place in sorted(places)}
        return {**self._store.record(stage).get("parameters", {}), **counts}


class _OtherRuns:
    """The other runs of a results folder, read again when their plans change."""

    def __init__(self, folder: RunFolder, store: Store) -> None:
        self._runs, self._store = folder.path.parent, store
        self._this = folder.plan, _state(folder.plan)
        self._known: dict[Path, tuple[tuple[int, int], _Run]] = {}

    def want(self, stage: str) -> frozenset[str]:
        """The parts of a stage's output that another run keeps, or needs for stages that are still to be built."""
        parts: frozenset[str] = frozenset()
        for run in self._read():
            if stage not in run.graph:
                continue
            if any(stage in run.graph[waiting] for waiting in to_build(run.graph, self._store)):
                return _ALL
            parts |= run.keeps(stage)
        return parts

    def _read(self) -> list[_Run]:
        """Every other run's plan; also this run's, if another process has replaced it.

        Raises:
            HarnessError: a plan cannot be read, so that its needs are not known.
        """
        runs = []
        for path in sorted(self._runs.glob("*/plan.json")):
            try:
                state = _state(path)
                if (path, state) == self._this:
                    continue
                if path not in self._known or self._known[path][0] != state:
                    self._known[path] = state, _Run.read(RunFolder(path.parent))
                runs.append(self._known[path][1])
            except FileNotFoundError:
                continue  # the run was just removed
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                what = f"the plan of this run cannot be read ({type(error).__name__})"
                raise HarnessError(what, where=str(path)) from None
        return runs


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns
