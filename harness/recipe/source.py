"""A recipe's text -> plain values, and the line each of them was written on.

A small, safe part of YAML: text, whole numbers, numbers, true/false, null; anchors, but no tags and no merge keys.
`2e-5` is a number and `2026-01-01`, `yes` and `010` are text, as YAML 1.2 has it (and PyYAML has not).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import yaml

from harness.core.canonical import Json
from harness.recipe.faults import Fault, Key, Place, RecipeError, dotted, nearest

MAX_BYTES, MAX_VALUES, MAX_DEPTH = 1_000_000, 100_000, 50
_UNNAMED = "recipe"
"""What a recipe is called that comes from no file."""
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)


@dataclass
class Source:
    """A recipe as written: plain values with their places."""

    file: str
    data: dict[str, Json]
    places: dict[Key, Place] = field(default_factory=dict)

    def place(self, key: Key) -> Place:
        """Where `key` was written, or the nearest thing around it."""
        while key and key not in self.places:
            key = key[:-1]
        return self.places.get(key, Place(1, f"{self.file}:1"))

    def fault(self, key: Key, what: str) -> Fault:
        """A fault at `key`."""
        return Fault(self.place(key), dotted(key), what)


def read(given: Path | Mapping[str, Json], sets: Sequence[str] = ()) -> tuple[Source, str]:
    """The recipe in a file, or given as a mapping, after its overrides (`key.path=value`), and its text.

    A mapping has no lines: faults name its keys alone.
    """
    source, text = _given(given) if isinstance(given, Mapping) else _written(given)
    for assignment in sets:
        _override(source, assignment)
    return source, dump(source.data) if sets else text


def _given(recipe: Mapping[str, Json]) -> tuple[Source, str]:
    try:
        text = dump(dict(recipe))
    except (yaml.representer.RepresenterError, RecursionError) as error:
        value = error.args[-1]
        what = f"a value of type {type(value).__name__} is none that a recipe can hold"
        raise RecipeError([Fault(Place(0, _UNNAMED), "", what)]) from None
    places: dict[Key, Place] = {}
    return Source(_UNNAMED, _Reader(_UNNAMED, _UNNAMED).read(text, (), places), places), text


def _written(path: Path) -> tuple[Source, str]:
    file = str(path)
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise RecipeError([Fault(Place(1, file), "", (reason or str(error)).lower())]) from None
    if len(raw) > MAX_BYTES:
        raise RecipeError([Fault(Place(1, file), "", f"larger than {MAX_BYTES} bytes: not a recipe")])
    places: dict[Key, Place] = {}
    data = _Reader(file).read(text, (), places)
    if not isinstance(data, dict):
        what = "the recipe is empty" if data is None else "a recipe is a mapping of keys to values"
        raise RecipeError([Fault(Place(1, f"{file}:1"), "", what)])
    return Source(file, data, places), text


def dump(data: Json) -> str:
    """YAML text that `read` turns into the same values."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def scalar(text: str) -> str | int | float | bool | None:
    """What an unquoted word means. Raises ValueError for a number no machine holds."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        if len(text) > 19:
            raise ValueError("this number is too large; quote it if it is text")
        return int(text)
    if _FLOAT.fullmatch(text) and not (text.lstrip("+-").isdigit()):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError("this number is too large; quote it if it is text")
        return number
    return text


class _Loader(yaml.BaseLoader):
    """Composes nodes; refuses tags."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(problem="tags (!...) are not allowed", problem_mark=event.start_mark)
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """Quotes text that `scalar` would read as something else; writes no anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    try:
        plain = isinstance(scalar(text), str)
    except ValueError:
        plain = False
    style = '"' if any(c in text for c in "\r\x85\u2028\u2029") else None if plain else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_multi_representer(PurePath, lambda dumper, path: _represent_text(dumper, str(path)))


class _Reader:
    """Turns composed nodes into plain values, counting so that anchors cannot explode."""

    def __init__(self, file: str, override: str = "") -> None:
        self.file, self.override, self.values = file, override, 0

    def read(self, text: str, key: Key, places: dict[Key, Place]) -> Json:
        """The value of a YAML document; the place of every value goes to `places` under `key`."""
        self.places = places
        loader: _Loader | None = None
        try:
            loader = _Loader(text)
            node = loader.get_single_node()
            return None if node is None else self._value(node, key)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._error(mark.line + 1 if mark else 1, _reason(error)) from None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            code = error.character if isinstance(error.character, int) else ord(error.character)
            raise self._error(line, f"character U+{code:04X} is not allowed") from None
        except RecursionError:
            raise self._error(1, "nested too deeply") from None
        except (
            ValueError,
            OverflowError,
        ) as error:  # PyYAML lets a broken escape such as "\UFFFFFFFF" through to chr()
            line = loader.line + 1 if loader else 1
            raise self._error(line, f"not YAML ({error})") from None

    def _value(self, node: yaml.Node, key: Key) -> Json:
        line = node.start_mark.line + 1
        self.values += 1
        if self.values > MAX_VALUES:
            raise self._error(line, f"more than {MAX_VALUES} values, anchors counted where they are used")
        if len(key) > MAX_DEPTH:
            raise self._error(line, "nested too deeply")
        self.places.setdefault(key, self._place(line))
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*key, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key)
        text = self._text(node)
        if not isinstance(node, yaml.ScalarNode) or node.style is not None:
            return text
        try:
            return scalar(text)
        except ValueError as error:
            raise self._error(line, str(error), key) from None

    def _mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Json]:
        out: dict[str, Json] = {}
        for name_node, value in node.value:
            line = name_node.start_mark.line + 1
            if not isinstance(name_node, yaml.ScalarNode):
                raise self._error(line, "a key must be text", key)
            name = self._text(name_node)
            here = (*key, name)
            if name == "<<" and name_node.style is None:
                raise self._error(line, "merge keys (<<) are not allowed", key)
            if name in out:
                raise self._error(line, f"duplicate key (first on line {self.places[here].line})", here)
            self.places[here] = self._place(line)
            out[name] = self._value(value, here)
        return out

    def _text(self, node: yaml.Node) -> str:
        text = str(node.value)
        if any("\ud800" <= c <= "\udfff" or c == "\0" for c in text):
            raise self._error(node.start_mark.line + 1, "text with a character that no file can hold")
        return text

    def _place(self, line: int) -> Place:
        return Place(0, self.override) if self.override else Place(line, f"{self.file}:{line}")

    def _error(self, line: int, what: str, key: Key = ()) -> RecipeError:
        return RecipeError([Fault(self._place(line), dotted(key), what)])


def _reason(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem or error.context or "not YAML")
    if "'\\t'" in problem:
        return "a tab; indent with spaces"
    if problem == "but found another document":
        return "a recipe is one YAML document"
    return " ".join(f"{problem} {f'({error.context})' if error.context and error.problem else ''}".split())


def _override(source: Source, assignment: str) -> None:
    where = f"--set {assignment}"
    path, equals, text = assignment.partition("=")
    if not equals or not path.strip():
        what = "expected key=value, for example --set train.0.sft.epochs=2"
        raise RecipeError([Fault(Place(0, where), "", what)])
    parts = path.strip().split(".")
    node: Json = source.data
    key: Key = ()
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        step = _step(node, key, part, new=last, where=where)
        key = (*key, step)
        if not last:
            node = node[step]
    for old in [k for k in source.places if k[: len(key)] == key]:
        del source.places[old]
    node[key[-1]] = _Reader(source.file, where).read(text, key, source.places)


def _step(node: Json, key: Key, part: str, *, new: bool, where: str) -> str | int:
    """The next part of an override's path, checked against what the recipe has there."""

    def fault(what: str) -> RecipeError:
        return RecipeError([Fault(Place(0, where), dotted(key), what)])

    if isinstance(node, list):
        if not part.isdecimal() or not int(part[:9]) < len(node):
            raise fault(f"a list of {len(node)}: '{part}' is not one of its indices (counted from 0)")
        return int(part)
    if not isinstance(node, dict):
        raise fault(f"a single value: it has no key '{part}'")
    if part not in node and not new:
        hint = nearest(part, node)
        raise fault(f"no key '{part}'{hint}" + ("" if "did you mean" in hint else f"; add it whole: {part}={{...}}"))
    return part
