"""The reference of a recipe's keys, as Markdown: a table per settings class, made from the classes themselves."""

import ast
import inspect
import itertools
import re
import textwrap
import types
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from harness.bench.api import benchmarks
from harness.core.settings import Named, Settings
from harness.recipe.schema import CellRecipe
from harness.train.api import steps

_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def reference() -> str:
    """Every key: those of the top level, of the training steps, of the benchmarks, and of what these hold."""
    named = _named()
    groups = {
        "## Training steps": [step.settings for step in steps().values()],
        "## Benchmarks": [bench.settings for bench in benchmarks().values()],
        "## What they hold": list(_held([CellRecipe, *named])),
    }
    parts = ["## Top level", *_section(CellRecipe)]
    for heading, group in groups.items():
        parts.append(heading)
        for settings in group:
            parts += [f"### {_name(settings)}", *_section(settings)]
    return "\n\n".join(parts) + "\n"


@cache
def _named() -> Mapping[type[Settings], str]:
    """The settings of training steps and benchmarks -> the name in a recipe."""
    of_steps: dict[type[Settings], str] = {step.settings: step.name for step in steps().values()}
    return of_steps | {benchmark.settings: benchmark.name for benchmark in benchmarks().values()}


def _held(top: list[type[Settings]]) -> Iterator[type[Settings]]:
    """The classes that these stand on or hold, each once."""
    seen = {Settings, *top}
    queue = list(top)
    while queue:
        settings = queue.pop(0)
        values = (field.annotation for field in settings.model_fields.values())
        for other in [*_bases(settings), *(held for value in values for held in _settings_in(value))]:
            if other not in seen:
                seen.add(other)
                queue.append(other)
                yield other


def _section(settings: type[Settings]) -> Iterator[str]:
    """What a class says of itself, its own keys, and whose keys it has too."""
    if settings.__doc__:
        yield re.sub(r"\n +", "\n", settings.__doc__).strip()
    inherited = {name for base in _bases(settings) for name in base.model_fields}
    meanings = _meanings(settings)
    own = [
        _row(name, field, meanings.get(name, ""))
        for name, field in settings.model_fields.items()
        if name not in inherited
    ]
    if own:
        yield "\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *own])
    if bases := _bases(settings):
        yield f"Also the keys of {', '.join(map(_link, bases))}."


def _bases(settings: type[Settings]) -> list[type[Settings]]:
    return [base for base in settings.__mro__[1:] if issubclass(base, Settings) and base is not Settings]


def _meanings(settings: type[Settings]) -> dict[str, str]:
    """The text below each key in the source; importing the harness does not read its own source for it."""
    (cls,) = ast.parse(textwrap.dedent(inspect.getsource(settings))).body
    assert isinstance(cls, ast.ClassDef), "it is the source of a class"
    return {
        key.target.id: text.value.value
        for key, text in itertools.pairwise(cls.body)
        if isinstance(key, ast.AnnAssign)
        and isinstance(key.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _row(name: str, field: FieldInfo, text: str) -> str:
    extra = field.json_schema_extra
    meaning = [" ".join(text.split())]
    if isinstance(extra, dict) and extra.get("execution"):
        meaning.append("*Not identity.*")
    cells = [f"`{field.alias or name}`", _value(field), _default(field), " ".join(meaning).strip()]
    row = " | ".join(cell.replace("|", "\\|") for cell in cells)
    return f"| {row} |"


def _value(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(bound, key):g}"
        for bound in field.metadata
        for key, sign in _BOUNDS.items()
        if hasattr(bound, key)
    ]
    return " ".join([_type(field.annotation), ", ".join(bounds)]).strip()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is None or isinstance(default, Settings) or default in ((), [], {}):
        return ""
    return f"`{', '.join(map(str, default)) if isinstance(default, list | tuple) else str(default)}`"


def _type(annotation: Any) -> str:
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inside[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inside)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(one) for one in inside if one is not types.NoneType)
    if origin in (list, tuple):
        return f"list of {_type(inside[0])}"
    if origin in (dict, Named):
        return f"mapping to {_type(inside[-1])}"
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return "its settings" if annotation is Settings else _link(annotation)
    return str(getattr(annotation, "__name__", annotation)).lower()


def _settings_in(annotation: Any) -> Iterable[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [found for one in get_args(annotation) for found in _settings_in(one)]


def _link(settings: type[Settings]) -> str:
    return f"[{_name(settings)}](#{_name(settings).lower().replace(' ', '-')})"


def _name(settings: type[Settings]) -> str:
    """`mt_bench`, as a recipe calls it; else `MoE` of MoESettings, `Step data` of StepData."""
    words = re.sub(r"(?<=[a-z])[A-Z](?=[a-z])", lambda m: f" {m[0].lower()}", settings.__name__)
    return _named().get(settings) or words.removesuffix(" settings").removesuffix("Settings")
