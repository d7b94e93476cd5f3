"""The context in which a cell's stages are planned: its settings, and the graph that all cells of the plan share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec, TypeVar

from pydantic import BaseModel

from harness.recipe.schema import CellRecipe
from harness.stages.api import Stage
from harness.stages.model import PlannedModel

P = ParamSpec("P")
T = TypeVar("T")


class Graph:
    """The stages of a plan, one object per id, and the results of calls that cells have in common."""

    def __init__(self) -> None:
        self._stages: dict[str, Stage] = {}
        self._results: dict[object, tuple[Any, object]] = {}

    def share(self, stage: Stage) -> Stage:
        """The plan's object for this stage: equal stages become one, so that the graph stays small."""
        return self._stages.setdefault(stage.id, stage)

    def share_model(self, model: PlannedModel) -> PlannedModel:
        """The model, by the plan's object for its stage."""
        return PlannedModel(self.share(model.stage), model.name, model.part)

    def once(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `make` for these arguments, called once, so that files are read and models pinned once.

        Settings are compared by identity, since most cannot be hashed: cells that share a section of the recipe share
        its object. Other arguments are compared as keys of a dictionary.
        """
        key = (make, *map(_key, args), *kwargs, *map(_key, kwargs.values()))
        if key not in self._results:  # the arguments are kept too, so that no other object gets the id of one of them
            self._results[key] = make(*args, **kwargs), (args, kwargs)
        result: T = self._results[key][0]
        return result


def _key(argument: object) -> object:
    return id(argument) if isinstance(argument, BaseModel) else argument


@dataclass(frozen=True)
class CellContext:
    """A cell whose stages are being planned."""

    settings: CellRecipe
    labels: Mapping[str, str]
    graph: Graph
    trained: dict[str, PlannedModel] = field(default_factory=dict)
    """The models that the recipe trains for the cell (`models:`), by name; each may depend on those before it."""

    def with_data_seed(self, data_seed: int) -> "CellContext":
        """The same cell for a model that draws its rows with another seed."""
        return replace(self, settings=self.settings.model_copy(update={"data_seed": data_seed}))
