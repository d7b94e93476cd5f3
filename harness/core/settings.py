"""The base of every room's settings, and what of them is identity."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from harness.core.canonical import Json

_EXECUTION = {"execution": True}


class Settings(BaseModel):
    """Frozen, and strict about unknown keys. Validate with `model_validate_json` semantics (lists, str paths)."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, strict=True)


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Named(Generic[S]):
    """A mapping with one key in a recipe, `{sft: {...}}`: the name of an extension, and the settings of its use."""

    name: str
    settings: SerializeAsAny[S]


def restore(settings: type[S], values: Json) -> S:
    """The settings that `identity` and `model_dump` gave these values of: JSON by the names of the fields."""
    return settings.model_validate_json(json.dumps(values), by_name=True)


def execution(default: Any = ..., **constraints: Any) -> Any:
    """A field that changes no result (paths, concurrency, time-outs, keys): kept out of every stage's identity."""
    return Field(default, json_schema_extra=dict(_EXECUTION), **constraints)


def identity(settings: BaseModel) -> dict[str, Json]:
    """The settings as JSON without their execution fields, at every depth."""
    return {name: _plain(getattr(settings, name)) for name in _identity_fields(type(settings))}


@cache
def _identity_fields(settings: type[BaseModel]) -> tuple[str, ...]:
    extras = {name: field.json_schema_extra for name, field in settings.model_fields.items()}
    return tuple(name for name, extra in extras.items() if not (isinstance(extra, dict) and extra.get("execution")))


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
