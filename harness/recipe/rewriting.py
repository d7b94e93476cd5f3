"""The texts in a cell's settings, at every depth: read, and put in the place of others."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from pydantic import BaseModel

from harness.core.settings import Named
from harness.judge.settings import JudgeSettings


def texts(value: object) -> Iterator[str]:
    """Every text, among them all references of models; the name of a judge at an endpoint is none, and left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Named):
        yield from texts(value.settings)
    elif isinstance(value, BaseModel):
        for _, inner in fields(value):
            yield from texts(inner)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts(inner)


class Rewriting:
    """Puts texts in the place of others; an object of several cells stays one object, because plans compare them so."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self._made: dict[int, tuple[BaseModel, Any]] = {}

    def __call__(self, value: Any) -> Any:
        """The value with every text in it replaced."""
        if isinstance(value, str):
            return self._given.get(value, value)
        if isinstance(value, Named):
            return Named(value.name, self(value.settings))
        if isinstance(value, dict):
            return {name: self(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(self, value))
        if not isinstance(value, BaseModel):
            return value
        if id(value) not in self._made:  # the value is kept too, so that no other object gets its id
            self._made[id(value)] = value, self.settings(value)
        return self._made[id(value)][1]

    def settings(self, value: BaseModel) -> Any:
        """Settings with the texts in them replaced."""
        changes = {name: new for name, old in fields(value) if (new := self(old)) != old}
        return value.model_copy(update=changes) if changes else value


def fields(value: BaseModel) -> Iterator[tuple[str, Any]]:
    """The fields of settings in which a reference of a model may be, with their values."""
    for name in type(value).model_fields:
        if name != "model" or not is_endpoint(value):
            yield name, getattr(value, name)


def is_endpoint(value: object) -> TypeGuard[JudgeSettings]:
    """Whether these are a judge's at an endpoint, whose model's name is the endpoint's."""
    return isinstance(value, JudgeSettings) and value.serve is None
