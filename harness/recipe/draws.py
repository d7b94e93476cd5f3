"""Draws: the cells of a recipe with everything that a conclusion should hold for drawn anew from other seeds.

Draw 0 is the recipe as written. In draw d each seed of a drawn source is derived from (d, the seed as written), so that
seeds that are equal stay equal, and stages that a draw does not touch keep their id and are shared.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

from pydantic import BaseModel

from harness.bench.api import teacher_of
from harness.core.seeds import derive_seed
from harness.data.settings import DatasetSettings, DataSettings
from harness.models.settings import ModelSettings
from harness.recipe.schema import CellRecipe, DrawnSource, MadeModel, TeacherSettings, TrainStep
from harness.train.api import steps

S = TypeVar("S", bound=BaseModel)

DRAW = "draw"
"""The axis that a recipe with `draws` has beside those it declares."""
_SEEDS = 2**31
"""Derived seeds lie below it: they stand in titles and in the ids of pocket conversations."""


class Redraw:
    """Cells in another draw. Cells that share a section of the recipe share what is drawn anew of it, too."""

    def __init__(self, of: Sequence[DrawnSource]) -> None:
        self._of = frozenset(of)
        self._drawn: dict[tuple[object, ...], tuple[BaseModel, BaseModel]] = {}

    def __call__(self, cell: CellRecipe, draw: int) -> CellRecipe:
        """The cell in this draw."""
        if draw == 0:
            return cell
        of = self._of
        new: dict[str, object] = {}
        if "training" in of:
            new |= {"seed": redrawn(cell.seed, draw), "student": self._once(_student, cell.student, draw)}
        if "data" in of:
            new |= {"data_seed": redrawn(cell.data_seed, draw), "data": self._once(_data, cell.data, draw)}
        if "teacher" in of and cell.teacher is not None:
            new |= {"teacher": self._once(_teacher, cell.teacher, draw)}
        if "responses" in of and cell.teacher is not None and cell.teacher.responses.temperature > 0:
            new |= {"sample_seed": redrawn(cell.sample_seed, draw)}
        return cell.model_copy(update={**new, "models": self._models(cell, draw)})

    def _models(self, cell: CellRecipe, draw: int) -> dict[str, MadeModel]:
        """The models of the recipe, each as the sources that it belongs to."""
        students, teachers = starts(cell), teaching(cell)
        made = {}
        for name, model in cell.models.items():
            taught = "teacher" in self._of and name in teachers
            trained = taught or ("training" in self._of and name in students)
            sampled = taught or ("data" in self._of and name in students)
            made[name] = self._once(_made, model, draw, _data_seed(cell, name), trained, sampled)
        return made

    def _once(self, change: Callable[..., S], settings: S, *args: object) -> S:
        """What `change` makes of these settings, one object for all cells that have them."""
        key = (change, id(settings), *args)
        if key not in self._drawn:  # the settings are kept too, so that no other object gets their id
            self._drawn[key] = change(settings, *args), settings
        return self._drawn[key][0]  # type: ignore[return-value]


def redrawn(seed: int, draw: int) -> int:
    """The seed that stands for `seed` in a draw."""
    return seed if draw == 0 else derive_seed("draw", draw, seed) % _SEEDS


def starts(cell: CellRecipe) -> set[str]:
    """The models of the recipe that the student is made from, by name."""
    mixture = cell.student.architecture
    return set(_behind(cell, [cell.student.model, *(mixture.from_ or () if mixture else ())], with_teachers=False))


def made_from(cell: CellRecipe) -> list[object]:
    """The settings that determine the model that the student starts from, and those that it is measured beside."""
    mixture = cell.student.architecture
    references = [cell.student.model, *(mixture.from_ or () if mixture else ()), *measured_beside(cell)]
    names = sorted(set(_behind(cell, references, with_teachers=True)))
    made = [cell.models[name].model_copy(update={"data_seed": _data_seed(cell, name)}) for name in names]
    beside = measured_beside(cell)
    return [cell.student, *beside, *made, *([cell.data, cell.data_seed] if mixture and mixture.prompts else [])]


def measured_beside(cell: CellRecipe) -> list[str]:
    """References of the models that benchmarks measure the cell's model beside."""
    named = filter(None, map(teacher_of, cell.evaluate))
    return [(cell.teacher.model if cell.teacher else None) or "" if of == "teacher" else of for of in named]


def teaching(cell: CellRecipe) -> set[str]:
    """The models of the recipe that teach, as the cell learns or is measured, and those behind them."""
    trained = [cell.train, *(cell.models[name].train for name in starts(cell))]
    references = [of for train in trained for of in _teachers(cell, train)]
    if cell.teacher is not None and cell.teacher.model is not None:
        references.append(cell.teacher.model)
    references += measured_beside(cell)
    return set(_behind(cell, references, with_teachers=True))


def _teachers(cell: CellRecipe, train: Iterable[TrainStep]) -> Iterator[str]:
    """References of the models whose logits these steps learn from, other than the student and the recipe's teacher."""
    for step in train:
        of = steps()[step.name].teachers(step.settings).values()
        yield from (reference for reference in of if reference not in ("student", "teacher"))


def _behind(cell: CellRecipe, references: Iterable[str], *, with_teachers: bool) -> Iterator[str]:
    """Names of the models of the recipe among these references, and of those that they were made from."""
    for reference in references:
        name = reference.removeprefix("artifact:")
        if reference.startswith("artifact:") and name in cell.models:
            made = cell.models[name]
            yield name
            taught_by = _teachers(cell, made.train) if with_teachers else ()
            yield from _behind(cell, [made.base, *taught_by], with_teachers=with_teachers)


def _data_seed(cell: CellRecipe, name: str) -> int:
    """The seed that the data of a model of the recipe are drawn with."""
    own = cell.models[name].data_seed
    return cell.data_seed if own is None else own


def _student(settings: ModelSettings, draw: int) -> ModelSettings:
    mixture = settings.architecture
    if mixture is not None:
        mixture = mixture.model_copy(update={"router_seed": redrawn(mixture.router_seed, draw)})
    return settings.model_copy(update={"model": _reference(settings.model, draw), "architecture": mixture})


def _teacher(settings: TeacherSettings, draw: int) -> TeacherSettings:
    if settings.model is None:
        return settings
    return settings.model_copy(update={"model": _reference(settings.model, draw)})


def _made(made: MadeModel, draw: int, data_seed: int, trained: bool, sampled: bool) -> MadeModel:
    """A model of the recipe; its `data_seed` is settled, so that the cell's cannot change it."""
    new: dict[str, object] = {"data_seed": redrawn(data_seed, draw if sampled else 0)}
    if sampled:
        new |= {"data": _data(made.data, draw)}
    if trained:
        new |= {"base": _reference(made.base, draw), "seed": redrawn(made.seed, draw)}
    return made.model_copy(update=new)


def _data(data: DataSettings, draw: int) -> DataSettings:
    def anew(settings: DatasetSettings | None) -> DatasetSettings | None:
        if settings is None or settings.pocket is None:
            return settings
        pocket = settings.pocket.model_copy(update={"seed": redrawn(settings.pocket.seed, draw)})
        return settings.model_copy(update={"pocket": pocket})

    roles = {role: anew(getattr(data, role)) for role in ("train", "domain", "prompts")}
    return data.model_copy(update={**roles, "domains": {name: anew(one) for name, one in data.domains.items()}})


def _reference(text: str, draw: int) -> str:
    """A reference of a model; the weights of a pocket model are drawn anew."""
    if not text.startswith("pocket:"):
        return text
    head, _, query = text.partition("?")
    settings = dict(parse_qsl(query, keep_blank_values=True))
    seed = settings.get("seed", "0")
    if not seed.isdecimal():  # a fault that the plan tells, with the reference as it was written
        return text
    return f"{head}?{urlencode(settings | {'seed': str(redrawn(int(seed), draw))})}"


def undrawn(cell: CellRecipe, of: Sequence[DrawnSource]) -> Iterator[str]:
    """What a draw is asked to make anew of this cell and cannot, a sentence each."""
    given = [cell.teacher.model or ""] if cell.teacher is not None else []
    given += _teachers(cell, cell.train)
    if "teacher" in of:
        for reference in filter(_is_given, given):
            yield f"The teacher {reference} is the same in every draw: its weights are given."
        if cell.teacher is not None and cell.teacher.recorded is not None:
            yield "The teacher's responses are recorded: no draw makes others."
    if "training" in of and cell.train and _is_given(cell.student.model):
        yield f"The student starts from {cell.student.model} in every draw: its weights are given."
    if "data" in of and cell.train:
        for role in ("train", *cell.data.domain_names, "prompts"):
            data = cell.data.role(role)
            if data is not None and data.pocket is None and data.limit is None:
                yield f"data.{role} has the same rows in every draw: they are read whole (`limit` draws a sample)."


def _is_given(reference: str) -> bool:
    return bool(reference) and not reference.startswith(("pocket:", "artifact:"))
