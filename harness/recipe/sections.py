"""One top-level section of a recipe -> validated settings, or faults that name the key and what it should be."""

import json
import types
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import ErrorDetails

from harness.core.canonical import Json
from harness.core.settings import Named, Settings
from harness.recipe.axes import Section
from harness.recipe.faults import Fault, Key, nearest, one_of
from harness.recipe.schema import CellRecipe, MadeModel
from harness.train.api import steps

Registry = Mapping[str, Any]
"""Benchmarks (or training steps) by name; each has `.settings` (a Settings class), a benchmark `.program` too."""

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "path_type": "text",
}
_BOUNDS = {"greater_than": "more than", "greater_than_equal": "at least", "less_than": "less than"}
_BOUNDS["less_than_equal"] = "at most"


class Validator:
    """Validates sections against CellRecipe, and against the benchmarks and training steps there are."""

    def __init__(self, benchmarks: Registry) -> None:
        step = _one_of("TrainStep", steps())
        made = create_model("Made", __base__=MadeModel, train=(list[step], ...))  # type: ignore[valid-type]
        assembled = {
            "evaluate": list[_one_of("Evaluate", benchmarks)],  # type: ignore[misc]
            "train": list[step],  # type: ignore[valid-type]
            "models": dict[str, made],
        }
        self._types = {name: field.annotation for name, field in CellRecipe.model_fields.items()} | assembled
        self._models = _fixed() | {name: _around(kind) for name, kind in assembled.items()}
        self._steps = {"train": list(steps()), "evaluate": list(benchmarks)}

    def __call__(self, section: Section) -> tuple[Any, list[Fault]]:
        """The section's settings (None where there are faults), and its faults."""
        name, data = section.name, section.data
        faults: list[Fault] = []
        data = self._settle(section, data, faults)
        if faults:
            return None, faults
        try:
            value = self._models[name].model_validate_json(json.dumps({"section": data})).section  # type: ignore[attr-defined]
        except ValidationError as error:
            return None, _faults(section, data, error, self._types[name])
        if name in self._steps:
            value = _named(value)
        elif name == "models":
            value = {
                k: MadeModel.model_construct(**{**dict(made), "train": _named(made.train)}) for k, made in value.items()
            }
        return value, []

    def _settle(self, section: Section, data: Json, faults: list[Fault]) -> Json:
        """Short forms spelt out, and steps with exactly one key."""
        if section.name in ("student", "teacher") and isinstance(data, str):
            return {"model": data}
        if section.name == "draws" and not isinstance(data, dict):
            if type(data) is not int:
                faults.append(section.fault(("draws",), f"expected how many, or a mapping with 'n', not {show(data)}"))
            return {"n": data}
        if section.name in self._steps and isinstance(data, list):
            return _steps(section, data, (section.name,), self._steps[section.name], faults)
        if section.name == "models" and isinstance(data, dict):
            return {name: self._made(section, name, made, faults) for name, made in data.items()}
        return data

    def _made(self, section: Section, name: str, made: Json, faults: list[Fault]) -> Json:
        if not isinstance(made, dict) or not isinstance(made.get("train"), list):
            return made
        train = _steps(section, made["train"], ("models", name, "train"), self._steps["train"], faults)
        return {**made, "train": train}


def _around(kind: Any) -> type[BaseModel]:
    """A settings class around a section: it makes plain values (seed: "3") as strict as fields are."""
    return create_model("Section", __base__=Settings, section=(kind, ...))


@cache
def _fixed() -> dict[str, type[BaseModel]]:
    return {name: _around(field.annotation) for name, field in CellRecipe.model_fields.items()}


def _one_of(name: str, registry: Registry) -> type[Settings]:
    """A mapping that knows the names of a registry as its keys."""
    fields: dict[str, Any] = {entry: (it.settings | None, None) for entry, it in registry.items()}
    return create_model(name, __base__=Settings, **fields)


def _named(chosen: list[Settings]) -> list[Named[Settings]]:
    """The one field that is set of each."""
    return [Named(name, getattr(step, name)) for step in chosen for name in step.model_fields_set]


def _steps(section: Section, steps: list[Json], key: Key, known: list[str], faults: list[Fault]) -> Json:
    """Steps as one-key mappings; a key with nothing after it has all its defaults."""
    out: list[Json] = []
    for i, step in enumerate(steps):
        if isinstance(step, dict) and len(step) == 1:
            ((name, value),) = step.items()
            out.append({name: {} if value is None else value})
            if name not in known:
                faults.append(section.fault((*key, i, name), f"unknown key{nearest(name, known)}"))
        elif isinstance(step, str) and step in known:
            faults.append(section.fault((*key, i), f"expected a mapping with one key; write {{{step}: {{}}}}"))
        else:
            what = f"it has {', '.join(step)}" if isinstance(step, dict) and step else f"not {show(step)}"
            faults.append(section.fault((*key, i), f"expected a mapping with one key ({one_of(known)}); {what}"))
    if key == ("evaluate",) and not steps:
        faults.append(section.fault(key, f"expected at least one benchmark ({one_of(known)})"))
    return out


def show(value: Json) -> str:
    """A value as a message shows it, short."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= 60 else f"'{value[:57]}...'"
    return json.dumps(value)


def _faults(section: Section, data: Json, error: ValidationError, root: Any) -> list[Fault]:
    """Pydantic's errors as one fault per place."""
    at: dict[Key, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        detail["loc"] = detail["loc"][1:]
        at.setdefault(_reach(data, detail), []).append(detail)
    out = []
    for loc, details in at.items():
        # A value that is out of bounds has the right type: what else it could have been is not said.
        told = [d for d in details if d["type"] in _BOUNDS] or details
        whats = list(dict.fromkeys(_what(d, root) for d in told))
        expected = [w.removeprefix("expected ").partition(", not ")[0] for w in whats if w.startswith("expected ")]
        if len(expected) > 1:
            whats = [f"expected {one_of(expected)}, not {show(details[0]['input'])}"]
        out += [section.fault((section.name, *_visible(section.data, loc)), " ".join(what.split())) for what in whats]
    return out


def _reach(data: Json, detail: ErrorDetails) -> Key:
    """The part of pydantic's location that is in the data (it adds the names of union members)."""
    loc = detail["loc"]
    for i, part in enumerate(loc):
        inside = (isinstance(data, dict) and part in data) or (isinstance(data, list) and isinstance(part, int))
        if not inside:
            return loc[:i]
        data = data[part]
    return loc


def _visible(written: Json, loc: Key) -> Key:
    """Without the key that a short form left out."""
    return () if isinstance(written, str) else loc


def _what(detail: ErrorDetails, root: Any) -> str:
    kind, loc, ctx, given = detail["type"], detail["loc"], detail.get("ctx", {}), detail["input"]
    if kind == "extra_forbidden":
        return f"unknown key{nearest(str(loc[-1]), _known(root, loc[:-1]))}"
    if kind == "missing":
        return f"missing key '{loc[-1]}'"
    if kind == "literal_error":
        return f"expected {ctx['expected']}, not {show(given)}"
    if kind == "too_short":
        return f"expected at least {ctx['min_length']} item{'s'[: ctx['min_length'] > 1]}, not {ctx['actual_length']}"
    if kind in _BOUNDS:
        bound = next(iter(ctx.values()))
        return f"must be {_BOUNDS[kind]} {bound:g}, not {show(given)}"
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, not {show(given)}"
    if kind == "value_error":
        return str(ctx["error"])
    return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}, not {show(given)}"


@cache
def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _known(kind: Any, loc: Key) -> list[str]:
    """The keys that the settings at `loc` know."""
    for part in (*loc, None):
        kind = _bare(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if part is None:
                return list(_fields(kind))
            kind = _fields(kind).get(str(part))
        elif get_origin(kind) in (list, dict, tuple):
            kind = get_args(kind)[1 if get_origin(kind) is dict else 0]
        else:
            return []
    return []


def _bare(kind: Any) -> Any:
    """A type without Annotated and `| None`."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif get_origin(kind) in (Union, types.UnionType):
            rest = [arg for arg in get_args(kind) if arg is not type(None)]
            if len(rest) != 1:
                return None
            kind = rest[0]
        else:
            return kind
