"""The base of every room's settings, and what of them is identity."""

import json
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from harness.core.canonical import Json

_EXECUTION = {"execution": True}
_LATER = {"later": True}


class Settings(BaseModel):
    """Frozen, and strict about unknown keys. Validate with `model_validate_json` semantics (lists, str paths)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Named(Generic[S]):
    """A mapping with one key in a recipe, `{sft: {...}}`: the name of an extension, and the settings of its use."""

    name: str
    settings: SerializeAsAny[S]


def restore(settings: type[S], values: Json) -> S:
    """The settings that `identity` and `model_dump` gave these values of: JSON by the names of the fields."""
    restored: S = _restored(settings, json.dumps(values))
    return restored


@lru_cache(maxsize=4096)
def _restored(settings: type[S], text: str) -> S:
    """Settings are frozen, so that equal texts can share them: the stages of a large plan have few of them."""
    return settings.model_validate_json(text, by_name=True)


def execution(default: Any = ..., **constraints: Any) -> Any:
    """A field that changes no result (paths, concurrency, time-outs, keys): kept out of every stage's identity."""
    return Field(default, json_schema_extra=dict(_EXECUTION), **constraints)


def later(default: Any, **constraints: Any) -> Any:
    """A field that its settings did not have at first: at its default it is no identity, so that the stages from before
    keep their ids."""
    return Field(default, json_schema_extra=dict(_LATER), **constraints)


def identity(settings: BaseModel) -> dict[str, Json]:
    """The settings as JSON at every depth, without execution fields and without `later` ones at their default."""
    held = ((name, getattr(settings, name), since) for name, since in _identity_fields(type(settings)))
    return {name: _plain(value) for name, value, since in held if since is None or value != since[0]}


@cache
def _identity_fields(settings: type[BaseModel]) -> tuple[tuple[str, tuple[Any] | None], ...]:
    """The name of each field that is identity, and the default of a `later` one."""
    kept = []
    for name, field in settings.model_fields.items():
        marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if not marks.get("execution"):
            kept.append((name, (field.default,) if marks.get("later") else None))
    return tuple(kept)


def _plain(value: Any) -> Json:
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, BaseModel):
        return identity(value)
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return str(value)
