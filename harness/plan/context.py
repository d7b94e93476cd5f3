"""What the stages of a cell are planned with: the cell's settings, and the graph that all cells of the plan share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from pydantic import BaseModel

from harness.recipe.schema import CellRecipe
from harness.stages.api import Stage
from harness.stages.model import PlannedModel

P = ParamSpec("P")
T = TypeVar("T")


class Graph:
    """The stages of a plan, one object per id; and the calls that cells have in common, each made once."""

    def __init__(self) -> None:
        self._stages: dict[str, Stage] = {}
        self._results: dict[object, tuple[Any, object]] = {}

    def share(self, stage: Stage) -> Stage:
        """The plan's object for this stage, so that the graph stays small."""
        return self._stages.setdefault(stage.id, stage)

    def share_model(self, model: PlannedModel) -> PlannedModel:
        """The model, by the plan's object for its stage."""
        return PlannedModel(self.share(model.stage), model.name, model.part)

    def once(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `make` returns for the arguments: files are read and models pinned at the first call alone.

        Settings are compared as objects, since most cannot be hashed: cells that share a section of the recipe share
        its object. All else is compared as a dictionary compares keys.
        """
        key = (make, *map(_key, args), *kwargs, *map(_key, kwargs.values()))
        if key not in self._results:  # the arguments are kept too, so that no other object gets their address
            self._results[key] = make(*args, **kwargs), (args, kwargs)
        result: T = self._results[key][0]
        return result


def _key(argument: object) -> object:
    return id(argument) if isinstance(argument, BaseModel) else argument


@dataclass(frozen=True)
class CellContext:
    """A cell while its stages are planned."""

    settings: CellRecipe
    labels: Mapping[str, str]
    graph: Graph
    made: dict[str, PlannedModel] = field(default_factory=dict)
    """The models that the recipe trains for the cell (`models:`), by name; each may stand on those before it."""
