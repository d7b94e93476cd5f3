"""Variables and axes: what stands for something else in a recipe, and what it stands for."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from harness.bench.api import APPROXIMATE, SAMPLE_COLUMNS, SCORE_COLUMNS
from harness.core.canonical import Json
from harness.recipe.faults import Fault, Key, Place, dotted, nearest
from harness.recipe.source import Source

SAFE = re.compile(r"[A-Za-z0-9_.+-]+")
"""What names and labels are made of: they become parts of file names."""
_COLUMNS = frozenset({"cell", "baseline", APPROXIMATE, *SAMPLE_COLUMNS, *SCORE_COLUMNS})
"""Of the tables in which each axis has a column of its own. The column `judge` of the scores may be an axis's."""
_AXIS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BINDING = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_VARIABLE = re.compile(r"\$\{([^{}]*)\}")


@dataclass(frozen=True)
class Axis:
    """One swept setting: its values by label, and where each was written."""

    name: str
    labels: tuple[str, ...]
    values: tuple[Json, ...]
    keys: tuple[Key, ...]


@dataclass
class Section:
    """A top-level part of the recipe with axis values put in: knows where each part of it was written."""

    source: Source
    name: str
    data: Json = None
    origins: dict[Key, Key] = field(default_factory=dict)
    """Bound place -> the axis value that stands there."""

    def fault(self, key: Key, what: str) -> Fault:
        """A fault at `key` (from the top of the recipe), at the axis value's own line where one stands there."""
        return Fault(self._place(key), dotted(key), what)

    def _place(self, key: Key) -> Place:
        for length in range(len(key), 0, -1):
            if key[:length] in self.origins:
                return self.source.place(self.origins[key[:length]] + key[length:])
        return self.source.place(key)


def texts(value: Json, key: Key = ()) -> Iterator[tuple[Key, str]]:
    """Every string in a value, with its path."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from texts(item, (*key, name))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from texts(item, (*key, i))


def replace(value: Json, change: Callable[[Key, str], Json], key: Key = ()) -> Json:
    """A copy of `value` with every string put through `change`."""
    if isinstance(value, str):
        return change(key, value)
    if isinstance(value, dict):
        return {name: replace(item, change, (*key, name)) for name, item in value.items()}
    if isinstance(value, list):
        return [replace(item, change, (*key, i)) for i, item in enumerate(value)]
    return value


def interpolate(source: Source, faults: list[Fault]) -> Source:
    """The recipe with `${name}` replaced by its variable in every string, and without `vars`.

    A string that is one `${name}` and nothing else becomes the variable's value, number or not.
    """
    known: dict[str, Json] = {}

    def change(key: Key, text: str) -> Json:
        names = _VARIABLE.findall(text)
        for name in names:
            if name not in known:
                faults.append(source.fault(key, f"no variable '{name}' in vars{nearest(name, known)}"))
                return text
        if "${" in _VARIABLE.sub("", text):
            faults.append(source.fault(key, "a '${' without its name and '}'"))
        if len(names) == 1 and _VARIABLE.fullmatch(text):
            return known[names[0]]
        return _VARIABLE.sub(lambda match: _word(known[match[1]]), text)

    given = source.data.get("vars")
    if given is not None and not isinstance(given, dict):
        faults.append(source.fault(("vars",), "expected a mapping of names to values"))
        given = None
    for name, value in (given or {}).items():
        if isinstance(value, dict | list):
            faults.append(source.fault(("vars", name), "a variable is a single value"))
            value = ""
        known[name] = replace(value, change, ("vars", name))
    rest = {name: value for name, value in source.data.items() if name != "vars"}
    return Source(source.file, replace(rest, change), source.places)


def read_axes(source: Source, faults: list[Fault]) -> list[Axis]:
    """The axes as declared; faulty ones are left out."""
    given = source.data.get("axes")
    if given is None:
        return []
    if not isinstance(given, dict):
        faults.append(source.fault(("axes",), "expected a mapping of axes to lists of values"))
        return []
    return [axis for name in given if (axis := _axis(source, name, given[name], faults))]


def _axis(source: Source, name: str, given: Json, faults: list[Fault]) -> Axis | None:
    key: Key = ("axes", name)
    before = len(faults)
    if not _AXIS.fullmatch(name):
        faults.append(source.fault(key, "the name of an axis is letters, digits and _"))
    if name in _COLUMNS:
        faults.append(source.fault(key, f"a run's tables have a column '{name}': call the axis otherwise"))
    if not isinstance(given, list):
        faults.append(source.fault(key, "expected a list of values"))
        return None
    if not given:
        faults.append(source.fault(key, "an axis needs at least one value"))
    labels: list[str] = []
    values: list[Json] = []
    keys: list[Key] = []
    for i, item in enumerate(given):
        here: Key = (*key, i)
        label, value = _word(item), item
        if isinstance(item, dict) and len(item) == 1:
            ((label, value),) = item.items()
            here = (*here, label)
        inner = [(k, t) for k, t in texts(value, here) if _BINDING.fullmatch(t)]
        faults.extend(source.fault(k, f"an axis value cannot stand for another axis ('{t}')") for k, t in inner)
        if not SAFE.fullmatch(label) and not inner:
            what = "a label is letters, digits and _ . + -; give this value one: {label: value}"
            faults.append(source.fault((*key, i), what))
        elif label in labels:
            faults.append(
                source.fault((*key, i), f"label '{label}' is taken by value {labels.index(label)} of this axis")
            )
        labels.append(label)
        values.append(value)
        keys.append(here)
    return Axis(name, tuple(labels), tuple(values), tuple(keys)) if len(faults) == before else None


def _word(value: Json) -> str:
    """A value as its label: as YAML writes it, with no label (empty) for lists and mappings."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    return "" if isinstance(value, dict | list) else str(value)


def read_exclude(source: Source, axes: list[Axis], faults: list[Fault]) -> list[dict[str, str]]:
    """What is pruned: combinations of labels."""
    given = source.data.get("exclude")
    if given is None:
        return []
    if not isinstance(given, list):
        faults.append(source.fault(("exclude",), "expected a list of {axis: label} mappings"))
        return []
    labels = {axis.name: axis.labels for axis in axes}
    out: list[dict[str, str]] = []
    for i, item in enumerate(given):
        if not isinstance(item, dict) or not item:
            faults.append(source.fault(("exclude", i), "expected a mapping {axis: label, ...}"))
            continue
        for name, label in item.items():
            if name not in labels:
                faults.append(source.fault(("exclude", i, name), f"no such axis{nearest(name, labels)}"))
            elif _word(label) not in labels[name]:
                what = f"axis '{name}' has no label '{_word(label)}'{nearest(_word(label), labels[name])}"
                faults.append(source.fault(("exclude", i, name), what))
        out.append({name: _word(label) for name, label in item.items()})
    return out


def bindings(source: Source, axes: list[Axis], declared: set[str], faults: list[Fault]) -> dict[str, list[str]]:
    """Which axes each top-level section binds, in declared order. `declared` has the names of faulty axes too."""
    bound: dict[str, set[str]] = {}
    for name, value in source.data.items():
        if name in ("axes", "exclude"):
            continue
        for key, text in texts(value, (name,)):
            if match := _BINDING.fullmatch(text):
                bound.setdefault(name, set()).add(match[1])
                if match[1] not in declared:
                    faults.append(source.fault(key, f"no axis '{match[1]}'{nearest(match[1], declared)}"))
    used = set().union(*bound.values())
    faults.extend(
        source.fault(("axes", a.name), f"nothing uses this axis; write ${a.name} where its value belongs")
        for a in axes
        if a.name not in used
    )
    return {name: [a.name for a in axes if a.name in names] for name, names in bound.items()}


def has_binding(value: Json) -> bool:
    """Whether a `$name` stands anywhere in a value."""
    return any(_BINDING.fullmatch(text) for _, text in texts(value))


def bind(source: Source, name: str, point: Mapping[str, tuple[Json, Key]]) -> Section:
    """A section with `$axis` replaced by the point's value of that axis."""
    section = Section(source, name)

    def change(key: Key, text: str) -> Json:
        match = _BINDING.fullmatch(text)
        if not match or match[1] not in point:
            return text
        value, origin = point[match[1]]
        section.origins[key] = origin
        return value

    section.data = replace(source.data[name], change, (name,))
    return section
