"""The base of every room's settings, and what of them is identity."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from harness.core.canonical import Json

_EXECUTION = {"execution": True}


class Settings(BaseModel):
    """Frozen, and strict about unknown keys. Validate with `model_validate_json` semantics (lists, str paths)."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, strict=True)


def execution(default: Any = ..., **constraints: Any) -> Any:
    """A field that changes no result (paths, concurrency, time-outs, keys): kept out of every stage's identity."""
    return Field(default, json_schema_extra=dict(_EXECUTION), **constraints)


def identity(settings: BaseModel) -> dict[str, Json]:
    """The settings as JSON without their execution fields, at every depth."""
    out: dict[str, Json] = {}
    for name, field in type(settings).model_fields.items():
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("execution"):
            continue
        out[name] = _plain(getattr(settings, name))
    return out


def _plain(value: Any) -> Json:
    if isinstance(value, BaseModel):
        return identity(value)
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return str(value)
