"""A recipe's `keep`: weights go from the store as soon as nothing that is still to be done stands on them.

What other runs of the results folder are still to build from them, or keep by a `keep` of their own, stays.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.models.inventory import parameters
from harness.plan.needs import to_build
from harness.record.folder import RunFolder, read_plan
from harness.run.events import Ended, Event, Listener
from harness.stages.model import BROUGHT
from harness.stages.registry import KINDS
from harness.store.eviction import evict
from harness.store.store import Store

_ALL = frozenset({""})
"""Every part of a stage's output."""


@dataclass(frozen=True)
class _Run:
    """What the plan of a run says of weights."""

    keep: str
    finals: dict[str, list[str]]
    kinds: dict[str, str]
    graph: dict[str, list[str]]

    @staticmethod
    def read(folder: RunFolder) -> "_Run":
        plan = read_plan(folder)
        stages = plan["stages"]
        return _Run(
            plan.get("keep", "all"),
            plan.get("finals", {}),
            {stage: facts["kind"] for stage, facts in stages.items()},
            {stage: list(facts["inputs"].values()) for stage, facts in stages.items()},
        )

    def keeps(self, stage: str) -> frozenset[str]:
        """The parts of a stage's output that stay when all is done."""
        brought = all(self.kinds[one] in BROUGHT for one in (stage, *self.graph[stage]))
        if self.keep == "all" or (self.keep == "last" and brought):
            return _ALL
        return frozenset(self.finals.get(stage, ()) if self.keep == "last" else ())


class Keeper:
    """Hears what happens in a run, hands it on, and evicts what no stage needs any more.

    Trouble with that ends no run: it is said at its end.
    """

    def __init__(self, folder: RunFolder, store: Store, listen: Listener) -> None:
        """Of a run whose plan is written down."""
        self._run, self._store, self._listen = _Run.read(folder), store, listen
        self._others = _Others(folder, store)
        self._pending = to_build(self._run.graph, store)
        self._waiting: dict[str, set[str]] = {}
        for stage in self._pending:
            for given in self._run.graph[stage]:
                self._waiting.setdefault(given, set()).add(stage)
        self._stages, self._bytes, self._trouble = 0, 0, dict[str, None]()

    def sweep(self) -> None:
        """Evict what earlier runs left, as far as nothing that is now to be done stands on it."""
        for stage in self._run.graph:
            self._consider(stage)

    def __call__(self, event: Event) -> None:
        """Hand it on; where a stage is done, see whether it was the last to need its inputs."""
        self._listen(event)
        if isinstance(event, Ended) and event.status == "damaged":
            self._await(event.input)
        if not isinstance(event, Ended) or event.status not in ("built", "found"):
            return
        self._pending.discard(event.stage)
        for given in self._run.graph.get(event.stage, ()):
            self._waiting.get(given, set()).discard(event.stage)
            self._consider(given)

    def says(self) -> list[str]:
        """What was evicted, and what could not be."""
        setting = f"keep: {self._run.keep}"
        lines = [f"{setting}: some weights stay: {why}" for why in self._trouble]
        if self._stages:
            lines.insert(0, f"{setting}: removed the weights of {self._stages} stages, {self._bytes / 1e6:,.1f} MB")
        return lines

    def _await(self, stage: str) -> None:
        """What is made again stands on its inputs once more, and those of them that were evicted on theirs."""
        self._pending.add(stage)
        for given in self._run.graph.get(stage, ()):
            self._waiting.setdefault(given, set()).add(stage)
            if given in self._run.graph and given not in self._pending and not self._store.whole(given):
                self._await(given)

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
                lambda gone: {"parameters": self._parameters(stage, gone)},
            )
        except (OSError, ValueError, KeyError, HarnessError) as error:  # a record or a model that is damaged, too
            self._trouble[str(error)] = None
            return
        if freed is not None:
            self._stages, self._bytes = self._stages + 1, self._bytes + freed

    def _free(self, stage: str, files: Iterable[str]) -> set[str]:
        """Those of the files that are bulk and that neither this run nor another wants."""
        kept, bulk = self._run.keeps(stage) | self._others.want(stage), KINDS[self._run.kinds[stage]].bulk
        if "" in kept:
            return set()
        tops = {name: Path(name).parts[0] for name in files}
        return {name for name, top in tops.items() if top not in kept and any(fnmatch(top, part) for part in bulk)}

    def _parameters(self, stage: str, gone: set[str]) -> dict[str, Json]:
        """How many each evicted model has, by its place in the output: tables say it of teachers."""
        folder = self._store.path(stage)
        places = {Path(name).parent for name in gone if name.endswith(".safetensors")}
        found = {"" if place == Path() else place.as_posix(): parameters(folder / place) for place in sorted(places)}
        return {**self._store.record(stage).get("parameters", {}), **found}


class _Others:
    """The other runs of a results folder, read again when their plans change."""

    def __init__(self, own: RunFolder, store: Store) -> None:
        self._runs, self._store = own.path.parent, store
        self._own = own.plan, _state(own.plan)
        self._known: dict[Path, tuple[tuple[int, int], _Run]] = {}

    def want(self, stage: str) -> frozenset[str]:
        """The parts of a stage's output that another run keeps, or stands on with what it is still to build."""
        found: frozenset[str] = frozenset()
        for run in self._read():
            if stage not in run.graph:
                continue
            if any(stage in run.graph[waiting] for waiting in to_build(run.graph, self._store)):
                return _ALL
            found |= run.keeps(stage)
        return found

    def _read(self) -> list[_Run]:
        """Every other run's plan; this run's own too once another process has written it anew.

        Raises:
            HarnessError: a plan cannot be read, so that what it needs is not known.
        """
        runs = []
        for path in sorted(self._runs.glob("*/plan.json")):
            try:
                state = _state(path)
                if (path, state) == self._own:
                    continue
                if path not in self._known or self._known[path][0] != state:
                    self._known[path] = state, _Run.read(RunFolder(path.parent))
                runs.append(self._known[path][1])
            except FileNotFoundError:
                continue  # it was just removed
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                what = f"what this run needs cannot be read ({type(error).__name__})"
                raise HarnessError(what, where=str(path)) from None
        return runs


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns
