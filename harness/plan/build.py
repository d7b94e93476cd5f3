"""Cells to stages. What two cells share is one stage; what a setting does not touch is not run again."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from harness.core.errors import HarnessError
from harness.data.settings import DataSettings
from harness.recipe.schema import CellRecipe, MadeModel
from harness.recipe.load import Cell, Recipe
from harness.stages import answer, dataset, judge, respond, score, train
from harness.stages import benchmark as glue
from harness.stages.api import Stage
from harness.stages.model import Weights, weights
from harness.train.settings import TrainStep


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
    def asked(self) -> int:
        """How many stages the cells ask for, shared ones counted each time."""
        return sum(not s.is_leaf for cell in self.cells for s in _all(cell))


def _all(cell: PlannedCell) -> Iterable[Stage]:
    seen: set[str] = set()
    return (s for e in cell.evaluated for s in e.score.walk(seen))


def build(recipe: Recipe) -> Plan:
    """The plan of a recipe: every leaf is pinned here, once.

    Raises:
        HarnessError: a model or file that the recipe names is not there.
    """
    shared: dict[str, Stage] = {}
    return Plan(recipe, tuple(_Builder(cell.settings, shared).cell(cell) for cell in recipe.cells))


@dataclass
class _Builder:
    """Makes the stages of one cell; `shared` keeps one object per id, so that the graph stays small."""

    settings: CellRecipe
    shared: dict[str, Stage]
    made: dict[str, Weights] = field(default_factory=dict)

    def cell(self, cell: Cell) -> PlannedCell:
        settings = self.settings
        for name, model in settings.models.items():
            self.made[name] = self._made(name, model)
        trained: list[Weights] = []
        student = weights(settings.teacher_model if cell.baseline == "teacher" else settings.student, self.made)
        student = self._share(student)
        if cell.baseline is None:
            for step in settings.train:
                student = self._train(step, student, settings.data)
                trained.append(student)
        evaluated = tuple(self._evaluate(name, entry, student) for name, entry in settings.benchmarks)
        return PlannedCell(cell, student, tuple(trained), evaluated)
