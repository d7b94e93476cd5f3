"""Rehearsals: every stage of a recipe's plan, run in miniature before the recipe costs anything."""

import contextlib
import importlib.util
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path

from harness.api.one_question import ask_once, form_of, open_benchmark
from harness.api.recipes import results_folder
from harness.api.runs import Listener, Ray, StagesFailed, Work, perform
from harness.api.stops import StopError, Stops
from harness.api.stored import with_models_of_runs
from harness.core.absent import absent_allowed
from harness.core.errors import HarnessError
from harness.core.lines import read_json
from harness.core.machine import visible_gpus
from harness.core.plugins import plugged
from harness.core.settings import Named, Settings, restore
from harness.data.columns import check_answered
from harness.data.settings import DatasetSettings
from harness.generate.engines import engine_types
from harness.judge.settings import JudgeSettings
from harness.judge.stand_in import standing_in
from harness.judge.standing import look
from harness.models import refs
from harness.plan import fits
from harness.plan.build import Plan, build
from harness.recipe.load import Cell, Recipe
from harness.recipe.miniature import (
    StandIns,
    in_one_process,
    miniature,
    most_processes,
    one_seed,
    references,
    stand_in_benchmark,
    without_checkpoints,
)
from harness.record.folder import judge_epoch, run_folder, write_plan
from harness.run.events import Began
from harness.stages import dataset, encode, train
from harness.stages.api import Stage
from harness.store.store import Store

_PREFIX = "harness-rehearsal-"
"""Of the folder that a rehearsal works in, and that goes with it."""


@dataclass(frozen=True)
class Fault:
    """Something that would stop a run of the recipe."""

    kind: str
    """The kind of stage that fails; `model`, `benchmark`, `judge`, `plan` or `report` for what no stage comes to."""
    cells: frozenset[str]
    """The names of the rehearsed cells that meet it."""
    text: str
    """What is wrong and, in a second line, the remedy."""


@dataclass(frozen=True)
class Rehearsed:
    """The stages of a kind that ended alike."""

    kind: str
    stages: int
    cells: frozenset[str]
    fault: int | None
    """The number of the fault, counted from 1; None for stages that ran, or were not reached."""
    reached: bool = True


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal found."""

    recipe: Recipe
    cells: tuple[Cell, ...]
    """The cells that were rehearsed: of those that differ in seeds alone the first."""
    rows: tuple[Rehearsed, ...]
    faults: tuple[Fault, ...]
    not_rehearsed: tuple[str, ...]
    """A sentence for each thing that a miniature on this machine cannot show."""
    seconds: float


def rehearse_recipe(
    recipe: Recipe,
    *,
    judges: bool = True,
    jobs: int = 1,
    only: str = "*",
    ray: Ray | None = None,
    results: str | Path | None = None,
    listen: Listener | None = None,
) -> Rehearsal:
    """Run every stage of a recipe's plan in miniature, in a folder of its own that is removed at the end.

    Models have two layers and random weights, but their own class, config, tokenizer and chat template (of the hub only
    these are fetched); datasets have 32 rows, benchmarks four questions, trainings three steps, of which the first of
    each kind are stopped and taken up again. Benchmarks score the first cell of each student, and its base. Each judge
    is asked one question, without `judges` none; a stand-in gives all other verdicts. `results` is the folder of the
    runs that `artifact:RUN/CELL` names; nothing is written there.

    Raises:
        HarnessError: no cell matches `only`, or a plug-in is gone.
    """
    recipe = with_models_of_runs(recipe, results_folder(results))
    cells = one_seed([cell for cell in recipe.cells if fnmatch(cell.name, only)])
    if not cells:
        raise HarnessError("no cell has a name like this", where=only, fix=f"The first is: {recipe.cells[0].name}")
    clock = time.monotonic()
    with plugged(recipe.plugins), tempfile.TemporaryDirectory(prefix=_PREFIX) as folder, standing_in() as judge_url:
        rehearsing = _Rehearsing(recipe, cells, Path(folder))
        rehearsing.look_at_models()
        rehearsing.look_at_fits()
        rehearsing.look_at_benchmarks()
        rehearsing.look_at_judges(ask=judges)
        rows = rehearsing.run(judge_url, jobs, ray, listen or (lambda event: None))
    faults, left = tuple(rehearsing.faults), tuple(dict.fromkeys(rehearsing.left))
    return Rehearsal(recipe, tuple(cells), rows, faults, left, time.monotonic() - clock)


@dataclass
class _Rehearsing:
    """A rehearsal under way. What would stop a run as a whole is looked at first and left out of the miniature."""

    recipe: Recipe
    cells: list[Cell]
    folder: Path
    faults: list[Fault] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    described: dict[str, Path] = field(default_factory=dict)
    """Folders with config and tokenizer, by model reference."""
    small: dict[str, str] = field(default_factory=dict)
    """References of miniatures, by that of the model."""
    broken: set[int] = field(default_factory=set)
    """Ids of the settings of benchmarks that are at fault."""

    def look_at_models(self) -> None:
        """Fetch what describes each model, and make its miniature."""
        for number, (reference, names) in enumerate(self._by_reference().items()):
            place = self.folder / "models" / str(number)
            with self._at_fault("model", names):
                self.described[reference] = _described(reference, place / "described")
            if reference in self.described:
                self._shrink(reference, place / "miniature", names)

    def _shrink(self, reference: str, out: Path, names: Iterable[str]) -> None:
        from harness.models.miniature import miniature as shrink

        with self._at_fault("model", names):
            shrink(self.described[reference], out)
            self.small[reference] = f"path:{out}"

    def _by_reference(self) -> dict[str, list[str]]:
        """Each model reference with the names of the cells that it is in."""
        named: dict[str, list[str]] = defaultdict(list)
        for cell in self.cells:
            for reference in sorted(references(cell.settings)):
                named[reference].append(cell.name)
        return named

    def look_at_fits(self) -> None:
        """Compare the recipe's real numbers."""
        for cell in self.cells:
            for kind, error in fits.misfits(cell.settings, self.described):
                self._note(kind, [cell.name], str(error))
        started = most_processes(len(visible_gpus()))
        for processes in sorted({cell.settings.resources.processes for cell in self.cells}):
            if processes > started:
                self.left.append(f"{processes} processes of a training: {started} were started")
        for gpus in sorted({cell.settings.resources.gpus for cell in self.cells}):
            if gpus > len(visible_gpus()):
                here = len(visible_gpus())
                self.left.append(
                    f"{gpus} GPU(s), of which this machine has {here}: no kernel, dtype or memory of theirs"
                )

    def look_at_benchmarks(self) -> None:
        """Open each benchmark as its stages do."""
        for used in self._benchmarks().values():
            with self._at_fault("benchmark", [cell.name for cell, _ in used]):
                self.broken.add(id(used[0][1].settings))
                open_benchmark(used[0][1])
                self.broken.remove(id(used[0][1].settings))

    def _benchmarks(self) -> dict[int, list[tuple[Cell, Named[Settings]]]]:
        """The benchmarks of the cells, by the id of their settings, which cells share."""
        used: dict[int, list[tuple[Cell, Named[Settings]]]] = defaultdict(list)
        for cell in self.cells:
            for chosen in cell.settings.evaluate:
                used[id(chosen.settings)].append((cell, chosen))
        return used

    def look_at_judges(self, *, ask: bool) -> None:
        """See whether each judge can be asked, as `plan` does, and ask each for a verdict of each form."""
        asked: dict[tuple[str, str], tuple[JudgeSettings, Named[Settings], list[str]]] = {}
        for used in self._benchmarks().values():
            for cell, chosen in used:
                judge, form = cell.settings.judge, form_of(chosen)
                if judge is None or form is None or id(chosen.settings) in self.broken:
                    continue
                for settings in judge.asked.values():
                    key = settings.model_dump_json(), form
                    asked.setdefault(key, (settings, chosen, []))[2].append(cell.name)
        for settings, chosen, names in asked.values():
            if settings.serve is not None or not ask:
                continue
            with self._at_fault("judge", names):
                if said := look(settings):
                    self.left.append(said)
                ask_once(settings, chosen, self.folder / "question.sqlite")
        if asked and not ask:
            self.left.append("judges: none was asked (--no-judges)")
        if any(settings.batch for settings, _, _ in asked.values()):
            self.left.append("the Batch API of a judge: its question was asked live")
        if any(settings.serve for settings, _, _ in asked.values()) and not _vllm():
            self.left.append("a judge that vLLM serves: vLLM is not installed here")

    def run(self, judge_url: str, jobs: int, ray: Ray | None, listen: Listener) -> tuple[Rehearsed, ...]:
        """Run the miniature; returns how its stages ended."""
        plan = self._planned(judge_url)
        if not plan.cells:
            return ()
        store, folder = Store(self.folder / "store"), run_folder(self.folder, plan.recipe.name)
        work, stops = Work(plan, self.folder, {}, jobs, ray=ray), Stops(plan, store, listen)
        write_plan(folder, plan, judge_epoch(folder, again=False))
        listen(Began(f"rehearsal of {plan.recipe.name}", len(plan.cells), len(plan.stages), len(plan.stages)))
        while True:
            try:
                perform(work, stops)
            except StopError:
                continue
            except StagesFailed:
                pass
            except HarnessError as error:  # of what is collected or rendered: stages may have failed as well
                self._note("report", [cell.name for cell in plan.cells], self._told(str(error), plan, store))
            break
        self.left += stops.says()
        return tuple(self._rows(plan, store, stops.ended))

    def _planned(self, judge_url: str) -> Plan:
        """The plan of the miniature, without the cells that cannot be planned."""
        there = (cell for cell in self.cells if references(cell.settings) <= self.small.keys())
        cells = list(self._evaluated(there))
        engines = dict.fromkeys(self._engines(), "transformers")
        stand_ins = StandIns(self.small, judge_url, len(visible_gpus()), engines, serves=_vllm())
        recipe = miniature(self.recipe, cells, stand_ins)
        with contextlib.suppress(HarnessError):
            plan = build(recipe)
            self.left += plan.left_out
            return plan
        sound = []
        for cell in recipe.cells:  # each alone, so that every cell's fault is told
            alone = replace(recipe, cells=[cell])
            with self._at_fault("plan", [cell.name]):
                with absent_allowed() as absent:
                    build(alone)
                missing = [name for name in absent if not name.startswith("hf:")]  # those of the hub are fetched
                for name in missing:
                    self._note("plan", [cell.name], f"{name}: is not here\n  Check the path in the recipe.")
                if not missing:
                    self.left += build(alone).left_out
                    sound.append(cell)
        recipe = replace(recipe, cells=sound)
        return build(recipe) if sound else Plan(recipe, ())

    def _evaluated(self, cells: Iterable[Cell]) -> Iterator[Cell]:
        """The cells with the benchmarks that are sound, which the first cell of each student is scored with.

        Another cell of that student differs in what comes before: a small benchmark makes it be trained, in a single
        process, since several take many times as long to start as a miniature takes to train. Of these trainings the
        first with its steps saves checkpoints.
        """
        seen: set[tuple[object, ...]] = set()
        saved: set[tuple[str, ...]] = set()
        for cell in cells:
            settings = cell.settings
            sound = [chosen for chosen in settings.evaluate if id(chosen.settings) not in self.broken]
            how = settings.student, settings.generate, settings.judge, settings.resources
            key = cell.baseline, *map(str, how), *(id(chosen.settings) for chosen in sound)
            if key in seen:
                settings, steps = in_one_process(settings), tuple(step.name for step in settings.train)
                settings = without_checkpoints(settings) if steps in saved else settings
                saved.add(steps)
            if key in seen or (settings.evaluate and not sound):
                sound = [stand_in_benchmark()]
            seen.add(key)
            yield replace(cell, settings=settings.model_copy(update={"evaluate": sound}))

    def _engines(self) -> Iterator[str]:
        """The engines of the recipe that cannot run here."""
        for name in sorted({cell.settings.generate.engine for cell in self.cells} - {"auto"}):
            try:
                engine_types()[name].check()
            except HarnessError as error:
                self.left.append(f"the engine {name}, with transformers in its place: {error.what}")
                yield name

    def _rows(self, plan: Plan, store: Store, ended: Mapping[str, str | None]) -> Iterator[Rehearsed]:
        """How the stages of each kind ended; faults of stages that were not reached are looked for in the settings."""
        cells_of: dict[str, set[str]] = defaultdict(set)
        for cell in plan.cells:
            for stage in {s.id: s for end in cell.ends for s in end.walk()}.values():
                cells_of[stage.id].add(cell.name)
        groups: dict[tuple[str, int | None, bool], list[str]] = defaultdict(list)
        for stage in plan.stages.values():
            fault, reached = None, ended.get(stage.id, "") is not None
            if text := ended.get(stage.id):
                fault = self._note(stage.kind, cells_of[stage.id], self._told(text, plan, store))
            groups[stage.kind, fault, reached].append(stage.id)
        self._look_at_data(plan, store, cells_of)
        ends = [(ended.get(stage.id, ""), cells_of[stage.id]) for stage in plan.stages.values() if _trains(stage)]
        failed = {name for end, names in ends if end for name in names}
        unreached = {name for end, names in ends if end is None for name in names} - failed
        for blocked in (cell for cell in self.cells if cell.name in unreached):
            for kind, error in fits.vocabularies(blocked.settings, self.described):
                self._note(kind, [blocked.name], str(error))
        for kind in dict.fromkeys(stage.kind for stage in plan.stages.values()):
            for (of, fault, reached), stages in groups.items():
                if of == kind:
                    names = frozenset(name for stage in stages for name in cells_of[stage])
                    yield Rehearsed(kind, len(stages), names, fault, reached)

    def _look_at_data(self, plan: Plan, store: Store, cells_of: Mapping[str, set[str]]) -> None:
        """Datasets that are trained on and have no response: a training on a mix would go on without them."""
        for stage in plan.stages.values():
            data = stage.inputs.get("data")
            if stage.kind == encode.KIND.name and data and data.kind == dataset.KIND.name and store.has(data.id):
                name = restore(DatasetSettings, data.execution["settings"]).name
                with self._at_fault(data.kind, cells_of[data.id]):
                    check_answered(read_json(store.path(data.id) / dataset.RECORD), f"{data.title}: {name}")

    def _told(self, text: str, plan: Plan, store: Store) -> str:
        """A stage's error with the names of the recipe's models in place of the rehearsal's folders."""
        if text.startswith("Traceback"):
            text = (
                f"{text.strip().splitlines()[-1]}\n  A defect, or a class of models that a miniature cannot stand for."
            )
        places = {small.removeprefix("path:"): reference for reference, small in self.small.items()}
        places |= {str(store.path(stage.id)): stage.title for stage in plan.stages.values()}
        for place, name in places.items():
            text = text.replace(place, name)
        return text

    def _note(self, kind: str, names: Iterable[str], text: str) -> int:
        """Note a fault, one that is known already with more cells; returns its number."""
        for number, fault in enumerate(self.faults):
            if fault.text == text:
                self.faults[number] = replace(fault, cells=fault.cells | set(names))
                return number + 1
        self.faults.append(Fault(kind, frozenset(names), text))
        return len(self.faults)

    @contextlib.contextmanager
    def _at_fault(self, kind: str, names: Iterable[str]) -> Iterator[None]:
        """Note a HarnessError as a fault of these cells, and go on."""
        try:
            yield
        except HarnessError as error:
            self._note(kind, names, str(error))


def _described(reference: str, out: Path) -> Path:
    ref = refs.parse(reference)
    if ref.scheme in ("hf", "path"):
        return refs.described(ref)
    from harness.models.gguf import describe_gguf

    pinned = refs.pin(ref)
    assert pinned.path is not None, "a GGUF is a file"
    describe_gguf(pinned.path, out)
    return out


def _trains(stage: Stage) -> bool:
    return stage.kind == train.KIND.name


def _vllm() -> bool:
    return importlib.util.find_spec("vllm") is not None
