"""Cells to stages. What two cells share is one stage; what a setting does not touch is not run again."""

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property

from harness.core.errors import HarnessError
from harness.models.settings import ModelSettings
from harness.plan import experts
from harness.plan.memo import Memo
from harness.plan.teachers import ScoredTeacher, TeacherBuilder
from harness.plan.training import Pipeline, TrainingBuilder, learned_from
from harness.recipe.load import Cell, Recipe
from harness.recipe.schema import CellRecipe, Keep
from harness.stages import answer, contamination, judge, measure, score
from harness.stages import benchmark as glue
from harness.stages.api import Stage
from harness.stages.model import Weights, resolve, unavailable, weights
from harness.train.settings import checkpoint_part


@dataclass(frozen=True)
class Judged:
    """The stages of a benchmark that a model answers and a judge scores."""

    answers: Stage
    verdicts: Stage


@dataclass(frozen=True)
class Evaluated:
    """One benchmark of one cell."""

    benchmark: str
    score: Stage
    judged: Judged | None
    """None for a benchmark that is measured on the model itself: then `score` has it as its input `measured`."""
    routing: Stage | None = None
    """Which experts its questions are routed to, for a model that is known to have routers."""


@dataclass(frozen=True)
class PlannedCell:
    """A cell and the stages that make its row."""

    cell: Cell
    model: Weights
    trained: tuple[Weights, ...]
    evaluated: tuple[Evaluated, ...]
    teacher: ScoredTeacher | None = None
    """Its teacher's scores for its student base, where the recipe asks for them."""
    checks: tuple[Stage, ...] = ()
    """Looks for its benchmarks' prompts in the data it learned from; first, so that they are done before training."""

    @property
    def name(self) -> str:
        """The cell's name."""
        return self.cell.name

    @property
    def ends(self) -> list[Stage]:
        """The stages that nothing else of the cell stands on."""
        routing = (e.routing for e in self.evaluated if e.routing is not None)
        scores = (e.score for e in self.evaluated)
        return [*self.checks, *scores, *routing, *([self.teacher.stage] if self.teacher else [])]


@dataclass(frozen=True)
class Plan:
    """A recipe's cells with their stages."""

    recipe: Recipe
    cells: tuple[PlannedCell, ...]
    left_out: tuple[str, ...] = ()
    """A sentence for each optional student that cannot be had."""

    @property
    def judged(self) -> Iterator[tuple[PlannedCell, Evaluated, Judged]]:
        """Every (cell, benchmark) that has answers and verdicts."""
        return ((c, e, e.judged) for c in self.cells for e in c.evaluated if e.judged is not None)

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """Every stage once, by id, inputs before what stands on them; leaves left out."""
        return _walk(end for cell in self.cells for end in cell.ends)

    @property
    def keep(self) -> Keep:
        """Which weights stay on disk."""
        return self.cells[0].cell.settings.keep

    @property
    def finals(self) -> dict[str, list[str]]:
        """The models that cells end in, as stage -> parts of its output; of several checkpoints the last."""
        found: dict[str, dict[str, None]] = {}
        for planned in self.cells:
            model, cell = planned.model, planned.cell
            at_the_end = not planned.trained or cell.checkpoint == cell.settings.checkpoints[-1]
            if at_the_end and not model.stage.is_leaf:
                found.setdefault(model.stage.id, {})[model.part] = None
        return {stage: list(parts) for stage, parts in found.items()}

    @cached_property
    def teacher_stages(self) -> dict[str, Stage]:
        """Those of `stages` that teacher scores stand on."""
        return _walk(cell.teacher.stage for cell in self.cells if cell.teacher is not None)

    @cached_property
    def asked(self) -> Counter[str]:
        """How many stages of each kind the cells ask for, shared ones counted each time."""
        return Counter(s.kind for cell in self.cells for s in _walk(cell.ends).values())


def _walk(ends: Iterable[Stage]) -> dict[str, Stage]:
    seen: set[str] = set()
    return {s.id: s for end in ends for s in end.walk(seen) if not s.is_leaf}


def build(recipe: Recipe, *, only: str = "*", judge_epoch: int = 0) -> Plan:
    """The plan of a recipe's cells whose name matches the glob `only`: every leaf is pinned here, once.

    Raises:
        HarnessError: a model or file that the recipe names is not there; no cell matches.
    """
    cells = [cell for cell in recipe.cells if fnmatch(cell.name, only)]
    if not cells:
        raise HarnessError("no cell has a name like this", where=only, fix=f"The first is: {recipe.cells[0].name}")
    optional = {s.model: s for s in (cell.settings.student for cell in cells) if s.optional}
    reasons = {model: unavailable(settings) for model, settings in optional.items()}
    absent = Counter(reason for cell in cells if (reason := _absent(cell, reasons)))
    kept = [cell for cell in cells if not _absent(cell, reasons)]
    if not kept:
        raise HarnessError(f"no student is there: {next(iter(absent))}", where=str(recipe.path))
    shared: dict[str, Stage] = {}
    memo = Memo()
    with _no_garbage_collection():
        planned = tuple(_Builder(cell, shared, memo, judge_epoch).planned() for cell in kept)
    said = (f"{count} cells of an optional student are left out: {reason}" for reason, count in absent.items())
    return Plan(recipe, planned, tuple(said))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Pause the garbage collector: a plan keeps every object it makes, and scanning them takes a third of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _absent(cell: Cell, reasons: Mapping[str, str]) -> str:
    return reasons[cell.settings.student.model] if cell.settings.student.optional else ""


@dataclass
class _Builder:
    """Makes the stages of one cell; `shared` keeps one object per id, so that the graph stays small."""

    cell: Cell
    shared: dict[str, Stage]
    memo: Memo
    judge_epoch: int
    made: dict[str, Weights] = field(default_factory=dict)

    @property
    def settings(self) -> CellRecipe:
        """The cell's."""
        return self.cell.settings

    def planned(self) -> PlannedCell:
        """The cell's row: its model, trained unless it is a baseline, on every benchmark; its teacher's scores."""
        cell = self.cell
        for name, made in self.settings.models.items():
            base = self._model(ModelSettings(model=made.base))
            experts.check_router_loss(name, made.train, base)
            self.made[name] = self._training.trained(Pipeline(name, made.train, made.data, made.seed), base)[-1]
        trained: list[Weights] = []
        teacher = self._teacher() if cell.baseline == "teacher" else None
        model = teacher or self._model(self.settings.student)
        if cell.baseline is None and self.settings.train:
            own = self.settings
            experts.check_router_loss(cell.name, own.train, model)
            pipeline = Pipeline(cell.trained_as, own.train, own.data, own.seed, own.checkpoints)
            trained = self._training.trained(pipeline, model)
            model = Weights(trained[-1].stage, cell.name, checkpoint_part(cell.checkpoint))
        model = Weights(model.stage, cell.name, model.part)
        asked = [self.memo(glue.asked, name, settings) for e in self.settings.evaluate for name, settings in e.items()]
        evaluated = tuple(self._evaluate(bench, model) for bench in asked)
        scored = self._scored() if cell.baseline is None and self.settings.teachers is not None else None
        return PlannedCell(cell, model, tuple(trained), evaluated, scored, self._searches(model, asked))

    def _searches(self, model: Weights, asked: list[glue.Asked]) -> tuple[Stage, ...]:
        """The stages that look for benchmarks' prompts in the data that a model learned from.

        A benchmark that is measured on the model itself has no prompts of ours to look for.
        """
        judged, learned = [bench for bench in asked if bench.form is not None], learned_from(model.stage)
        made = [self.memo(contamination.stage, data, bench) for bench in judged for data in learned]
        return tuple({stage.id: self._share(stage) for stage in made}.values())

    def _scored(self) -> ScoredTeacher:
        return self._teachers.scored(self._training.teacher_data(self.settings.data))

    @property
    def _training(self) -> TrainingBuilder:
        return TrainingBuilder(
            self.settings, self._share, self.memo, self._model, self._teacher, self._teachers.responses
        )

    @property
    def _teachers(self) -> TeacherBuilder:
        return TeacherBuilder(self.settings, self.cell.labels, self._share, self._model)

    def _share(self, stage: Stage) -> Stage:
        return self.shared.setdefault(stage.id, stage)

    def _model(self, settings: ModelSettings) -> Weights:
        found = self._shared(weights(settings, self.made, lambda text: self.memo(resolve, text)))
        if settings.architecture is None:
            return found
        return self._shared(experts.mixture(found, settings.architecture, self._model, self._dataset))

    def _shared(self, found: Weights) -> Weights:
        return Weights(self._share(found.stage), found.name, found.part)

    def _dataset(self, role: str) -> Stage:
        return self._training.dataset(self.settings.data.role(role), role)

    def _teacher(self) -> Weights | None:
        teacher = self.settings.teacher
        return None if teacher is None or teacher.model is None else self._model(ModelSettings(model=teacher.model))

    def _evaluate(self, asked: glue.Asked, model: Weights) -> Evaluated:
        own, gpus = self.settings, self.settings.resources.gpus
        if asked.form is None:
            measured = self._share(measure.stage(asked, model, own.generate, own.eval_seed, gpus))
            return Evaluated(asked.name, self._share(score.measured_stage(asked, measured)), None)
        answers = self._share(answer.stage(asked, model, own.generate, own.eval_seed, gpus))
        verdicts = self._share(self._judge(asked, answers))
        routing = experts.utilisation_of(asked, model, own.generate, gpus)
        return Evaluated(
            asked.name,
            self._share(score.stage(asked, answers, verdicts)),
            Judged(answers, verdicts),
            self._share(routing) if routing is not None else None,
        )

    def _judge(self, asked: glue.Asked, answers: Stage) -> Stage:
        settings = self.settings.judge
        if glue.judged(asked.name).program is not None:
            return judge.program_stage(asked, answers)
        assert settings is not None, "the schema asks for a judge where a model must judge"
        settings = settings.model_copy(update={"epoch": max(settings.epoch, self.judge_epoch)})
        served = self._model(ModelSettings(model=settings.model)) if settings.serve is not None else None
        return judge.model_stage(asked, answers, settings, served, self.settings.resources.gpus)
