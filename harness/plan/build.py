"""Cells to stages. What two cells share is one stage; what a setting does not touch is not run again."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property

from harness.core.errors import HarnessError
from harness.core.settings import Settings
from harness.data.settings import DatasetSettings, DataSettings
from harness.models.settings import ModelSettings
from harness.recipe.load import Cell, Recipe
from harness.recipe.schema import CellRecipe, TeacherSettings, TrainStep
from harness.stages import answer, dataset, judge, respond, score, train
from harness.stages import benchmark as glue
from harness.stages.api import Stage
from harness.stages.model import Weights, weights
from harness.train.api import steps


@dataclass(frozen=True)
class Evaluated:
    """One benchmark of one cell."""

    benchmark: str
    answers: Stage
    verdicts: Stage
    score: Stage


@dataclass(frozen=True)
class PlannedCell:
    """A cell and the stages that make its row."""

    cell: Cell
    model: Weights
    trained: tuple[Weights, ...]
    evaluated: tuple[Evaluated, ...]

    @property
    def name(self) -> str:
        """The cell's name."""
        return self.cell.name


@dataclass(frozen=True)
class Plan:
    """A recipe's cells with their stages."""

    recipe: Recipe
    cells: tuple[PlannedCell, ...]

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """Every stage once, by id, inputs before what stands on them; leaves left out."""
        seen: set[str] = set()
        ends = (e.score for cell in self.cells for e in cell.evaluated)
        return {s.id: s for end in ends for s in end.walk(seen) if not s.is_leaf}

    @cached_property
    def asked(self) -> Counter[str]:
        """How many stages of each kind the cells ask for, shared ones counted each time."""
        return Counter(s.kind for cell in self.cells for s in _all(cell) if not s.is_leaf)


def _all(cell: PlannedCell) -> Iterable[Stage]:
    seen: set[str] = set()
    return (s for e in cell.evaluated for s in e.score.walk(seen))


def build(recipe: Recipe, *, only: str = "*", judge_epoch: int = 0) -> Plan:
    """The plan of a recipe's cells whose name matches the glob `only`: every leaf is pinned here, once.

    Raises:
        HarnessError: a model or file that the recipe names is not there; no cell matches.
    """
    cells = [cell for cell in recipe.cells if fnmatch(cell.name, only)]
    if not cells:
        raise HarnessError("no cell has a name like this", where=only, fix=f"The first is: {recipe.cells[0].name}")
    shared: dict[str, Stage] = {}
    return Plan(recipe, tuple(_Builder(cell.settings, shared, judge_epoch).cell(cell) for cell in cells))


@dataclass
class _Builder:
    """Makes the stages of one cell; `shared` keeps one object per id, so that the graph stays small."""

    settings: CellRecipe
    shared: dict[str, Stage]
    judge_epoch: int
    made: dict[str, Weights] = field(default_factory=dict)

    def cell(self, cell: Cell) -> PlannedCell:
        """The cell's row: its model, trained unless it is a baseline, on every benchmark."""
        for name, made in self.settings.models.items():
            base = self._model(ModelSettings(model=made.base))
            self.made[name] = self._train(name, made.train, base, made.data, None, made.seed)[-1]
        trained: list[Weights] = []
        teacher = self._teacher() if cell.baseline == "teacher" else None
        model = teacher or self._model(self.settings.student)
        if cell.baseline is None and self.settings.train:
            own = self.settings
            trained = self._train(cell.name, own.train, model, own.data, own.teacher, own.seed)
            model = trained[-1]
        model = Weights(model.stage, cell.name, model.part)
        evaluated = [
            self._evaluate(name, settings, model) for e in self.settings.evaluate for name, settings in e.items()
        ]
        return PlannedCell(cell, model, tuple(trained), tuple(evaluated))

    def _share(self, stage: Stage) -> Stage:
        return self.shared.setdefault(stage.id, stage)

    def _model(self, settings: ModelSettings) -> Weights:
        found = weights(settings, self.made)
        return Weights(self._share(found.stage), found.name, found.part)

    def _teacher(self) -> Weights | None:
        teacher = self.settings.teacher
        return None if teacher is None or teacher.model is None else self._model(ModelSettings(model=teacher.model))

    def _train(
        self,
        name: str,
        pipeline: Sequence[TrainStep],
        model: Weights,
        data: DataSettings,
        teacher: TeacherSettings | None,
        seed: int,
    ) -> list[Weights]:
        """The pipeline's steps, each starting from what the one before made."""
        made: list[Weights] = []
        for step, settings in (item for one in pipeline for item in one.items()):
            dataset_stage = self._data(settings.data, data, teacher)
            guide = self._teacher() if steps()[step].needs_teacher(settings) else None
            model = train.stage(step, settings, model, dataset_stage, guide, seed, self.settings.resources.gpus, name)
            model = Weights(self._share(model.stage), model.name, model.part)
            made.append(model)
        return made

    def _data(self, which: str, data: DataSettings, teacher: TeacherSettings | None) -> Stage:
        if which == "train":
            return self._dataset(data.train, which)
        if which == "domain":
            return self._dataset(data.domain, which)
        assert teacher is not None, "the schema checks that there is a teacher"
        if teacher.recorded is not None:
            return self._dataset(teacher.recorded, "recorded responses")
        return self._respond(teacher, self._dataset(data.prompts or data.train, "prompts"))

    def _dataset(self, settings: DatasetSettings | None, title: str) -> Stage:
        assert settings is not None, "the schema checks that the data a step names is there"
        return self._share(dataset.stage(settings, self.settings.data_seed, title))

    def _respond(self, teacher: TeacherSettings, prompts: Stage) -> Stage:
        model, cell = self._teacher(), self.settings
        assert model is not None, "a teacher without recorded responses has a model"
        gpus = cell.resources.gpus
        return self._share(respond.stage(model, prompts, teacher.responses, cell.generate, cell.sample_seed, gpus))

    def _evaluate(self, name: str, settings: Settings, model: Weights) -> Evaluated:
        asked = glue.asked(name, settings)
        gpus = self.settings.resources.gpus
        answers = self._share(answer.stage(asked, model, self.settings.generate, self.settings.eval_seed, gpus))
        verdicts = self._share(self._judge(asked, answers))
        return Evaluated(name, answers, verdicts, self._share(score.stage(asked, answers, verdicts)))

    def _judge(self, asked: glue.Asked, answers: Stage) -> Stage:
        settings = self.settings.judge
        if glue.by_name(asked.name).program is not None:
            return judge.program_stage(asked, answers)
        assert settings is not None, "the schema asks for a judge where a model must judge"
        settings = settings.model_copy(update={"epoch": max(settings.epoch, self.judge_epoch)})
        served = self._model(ModelSettings(model=settings.model)) if settings.serve is not None else None
        return judge.model_stage(asked, answers, settings, served, self.settings.resources.gpus)
