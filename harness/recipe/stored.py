"""Models of finished runs in a recipe: `artifact:RUN/CELL` stands for the folder of the model that the cell left."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from harness.core.settings import Named
from harness.models.refs import of_run
from harness.recipe.load import Recipe


def with_stored_models(recipe: Recipe, place: Callable[[str, str], str]) -> Recipe:
    """The recipe with `place(run, cell)`, a reference to a folder, where its cells name a model of a run.

    Its text, which a run keeps, says what the user wrote.
    """
    named = dict.fromkeys(text for cell in recipe.cells for text in _texts(cell.settings) if of_run(text))
    if not named:
        return recipe
    put = _Put({text: place(*parts) for text in named if (parts := of_run(text))})
    return replace(recipe, cells=[replace(cell, settings=put(cell.settings)) for cell in recipe.cells])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _texts(getattr(value, name))
    elif isinstance(value, Named):
        yield from _texts(value.settings)
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


class _Put:
    """Puts texts in the place of others; an object of several cells stays one object, because plans compare them so."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts
        self._made: dict[int, tuple[BaseModel, BaseModel]] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._texts.get(value, value)
        if isinstance(value, Named):
            return Named(value.name, self(value.settings))
        if isinstance(value, dict):
            return {name: self(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(self, value))
        if not isinstance(value, BaseModel):
            return value
        if id(value) not in self._made:  # the value is kept too, so that no other object gets its id
            fields = {name: getattr(value, name) for name in type(value).model_fields}
            changed = {name: new for name, old in fields.items() if (new := self(old)) != old}
            self._made[id(value)] = value, value.model_copy(update=changed) if changed else value
        return self._made[id(value)][1]
