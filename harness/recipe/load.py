"""A recipe file -> its cells, every one validated before anything runs."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic_core import PydanticUndefined

from harness.bench.api import benchmarks as known_benchmarks
from harness.core.canonical import Json
from harness.models.settings import ModelSettings
from harness.recipe.axes import SAFE, Axis, Section, bind, bindings, has_binding, interpolate, read_axes, read_exclude
from harness.recipe.checks import CHECKED, check
from harness.recipe.draws import DRAW, Redraw, made_from, undrawn
from harness.recipe.faults import Fault, Key, RecipeError, nearest
from harness.recipe.schema import CellRecipe, Checkpoint, DrawnSource
from harness.recipe.sections import Registry, Validator
from harness.recipe.source import Source, read

MAX_CELLS = 100_000
_SECTIONS = tuple(CellRecipe.model_fields)
_OUTSIDE = ("name", "description", "vars", "axes", "exclude", "baselines")

CHECKPOINT = "checkpoint"
"""The axis that a recipe with several `checkpoints` has beside those it declares."""

Baseline = Literal["student", "teacher"]
Point = tuple[int, ...]
"""A cell as the index of its value on each axis, in declared order."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One point of the sweep, or an untrained row beside it."""

    name: str
    """`teacher=a,seed=0`: labels in declared order; `cell` for a recipe without axes."""
    labels: Mapping[str, str]
    """Axis -> label; for a baseline only the axes that determine it."""
    settings: CellRecipe
    baseline: Baseline | None = None
    checkpoint: Checkpoint = 1.0
    """The fraction of the training at which its model was kept; or the mean of the kept models."""

    @property
    def trained_as(self) -> str:
        """The name that it shares with the cells of the same training."""
        return cell_name({axis: label for axis, label in self.labels.items() if axis != CHECKPOINT})


@dataclass(frozen=True, eq=False)
class Recipe:
    """A recipe, resolved."""

    name: str
    description: str
    path: Path
    """Its file; `recipe` where it was given as a mapping."""
    text: str
    """The recipe's YAML after `--set`: what a run stores."""
    axes: dict[str, list[str]]
    """Axis -> labels, as declared."""
    cells: list[Cell]
    """The sweep, then the baselines."""
    plugins: tuple[Path, ...] = ()
    """Files of plug-ins that it was read with, and that its stages need."""

    @property
    def swept(self) -> list[Cell]:
        """The cells without the baselines."""
        return [cell for cell in self.cells if cell.baseline is None]

    @property
    def baselines(self) -> list[Cell]:
        """The untrained rows."""
        return [cell for cell in self.cells if cell.baseline is not None]

    @property
    def drawn(self) -> tuple[DrawnSource, ...]:
        """What its draws make anew; nothing where it has a single draw."""
        draws = self.cells[0].settings.draws
        return tuple(draws.of) if draws is not None and draws.n > 1 else ()

    @property
    def undrawn(self) -> tuple[str, ...]:
        """What its draws are to make anew and cannot, a sentence each."""
        swept = {id(cell.settings): cell.settings for cell in self.swept}
        return tuple(dict.fromkeys(s for settings in swept.values() for s in undrawn(settings, self.drawn)))

    @property
    def summary(self) -> str:
        """`ok, 12 cells (teacher 2 x seed 6), 1 baseline`."""
        axes = " x ".join(f"{axis} {len(labels)}" for axis, labels in self.axes.items())
        swept = _count(len(self.swept), "cell") + (f" ({axes})" if axes else "")
        return "ok, " + swept + (f", {_count(len(self.baselines), 'baseline')}" if self.baselines else "")


def load(given: Path | Mapping[str, Json], sets: Sequence[str] = (), benchmarks: Registry | None = None) -> Recipe:
    """Read, override, expand and validate a recipe: a YAML file, or the same as a mapping.

    `sets` are `key.path=value` overrides; `benchmarks` defaults to those in harness.bench. Raises RecipeError with
    every fault found.
    """
    registry = known_benchmarks() if benchmarks is None else benchmarks
    source, text = read(given, sets)
    path = Path(source.file)
    faults: list[Fault] = []
    source = interpolate(source, faults)
    name, description = _header(source, path, faults)
    sweep = _Sweep(source, registry, faults)
    kinds = _baseline_kinds(source, faults)
    cells = list(sweep.cells())
    if faults:
        raise RecipeError(faults)
    for kind in kinds:
        cells += sweep.baselines(kind, {cell.name for cell in cells})
    axes = {axis.name: list(axis.labels) for axis in sweep.axes}
    if sweep.draws > 1:
        axes[DRAW] = [str(draw) for draw in range(sweep.draws)]
    if kept := list(dict.fromkeys(cell.labels[CHECKPOINT] for cell in cells if CHECKPOINT in cell.labels)):
        axes[CHECKPOINT] = kept
    return Recipe(name, description, path, text, axes, cells)


def _header(source: Source, path: Path, faults: list[Fault]) -> tuple[str, str]:
    known = (*_OUTSIDE, *_SECTIONS)
    faults += [source.fault((k,), f"unknown key{nearest(k, known)}") for k in source.data if k not in known]
    if "student" not in source.data:
        faults.append(source.fault((), "missing key 'student'"))
    if "evaluate" not in source.data and "teachers" not in source.data:
        faults.append(source.fault((), "missing key 'evaluate'"))
    name, description = source.data.get("name", path.stem), source.data.get("description", "")
    if not isinstance(name, str) or not SAFE.fullmatch(name) or name.startswith("."):  # `..` is another folder
        faults.append(source.fault(("name",), "the name of a recipe is letters, digits and _ . + -, no dot first"))
    if not isinstance(description, str):
        faults.append(source.fault(("description",), "expected text"))
    return str(name), str(description)


def _baseline_kinds(source: Source, faults: list[Fault]) -> list[Baseline]:
    given = source.data.get("baselines")
    if given is None:
        return []
    if not isinstance(given, list):
        faults.append(source.fault(("baselines",), "expected a list of student, teacher"))
        return []
    for i, kind in enumerate(given):
        if kind not in ("student", "teacher") or given.index(kind) < i:
            faults.append(source.fault(("baselines", i), "expected student or teacher, each once"))
    return list(given)


@dataclass
class _Sweep:
    """The axes of a recipe and what each section is at each point; a section is validated once per distinct value."""

    source: Source
    benchmarks: Registry
    faults: list[Fault]
    axes: list[Axis] = field(init=False)
    bound: dict[str, list[int]] = field(init=False)
    """Section -> indices of the axes that it binds."""
    misread: bool = field(init=False)
    """A fault of the axes, or a missing student, would bring others in every cell."""

    def __post_init__(self) -> None:
        before = len(self.faults)
        self.axes = read_axes(self.source, self.faults)
        given = self.source.data.get("axes")
        declared = set(given) if isinstance(given, dict) else set()
        self.exclude = read_exclude(self.source, self.axes, self.faults)
        names = [axis.name for axis in self.axes]
        bound = bindings(self.source, self.axes, declared, self.faults)
        self.bound = {s: [names.index(n) for n in bound.get(s, [])] for s in self.source.data}
        for outside in ("name", "description", "baselines", "checkpoints", "draws", "keep"):
            if self.bound.get(outside):
                self.faults.append(self.source.fault((outside,), "an axis binds inside cells only, not here"))
        if CHECKPOINT in declared and "checkpoints" in self.source.data:
            self.faults.append(self.source.fault(("axes", CHECKPOINT), "this axis comes from `checkpoints`"))
        if DRAW in declared and "draws" in self.source.data:
            self.faults.append(self.source.fault(("axes", DRAW), "this axis comes from `draws`"))
        self.misread = len(self.faults) > before or "student" not in self.source.data
        self._validate = Validator(self.benchmarks)
        self._sections: dict[tuple[str, Point], tuple[Section, Any, bool]] = {}
        self._checked: set[tuple[Point, ...]] = set()
        asked = "draws" in self.source.data and not self.bound["draws"]
        drawn = self._section("draws", ())[1] if asked else None
        self.draws: int = drawn.n if drawn else 1
        self._redraw = Redraw(drawn.of if drawn else ())
        self.points: list[Point] = []

    def cells(self) -> Iterator[Cell]:
        """Every cell of the sweep; faults go to `faults`."""
        count = math.prod(len(axis.labels) for axis in self.axes) * self.draws
        if count > MAX_CELLS:
            self.faults.append(self.source.fault(("axes",), f"these axes make {count} cells; {MAX_CELLS} is the most"))
            return
        if self.misread:
            for name in self._given():
                if not has_binding(self.source.data[name]):
                    self._section(name, ())
            return
        for point in itertools.product(*(range(len(axis.labels)) for axis in self.axes)):
            labels = {axis.name: axis.labels[i] for axis, i in zip(self.axes, point, strict=True)}
            if any(all(labels[n] == label for n, label in rule.items()) for rule in self.exclude):
                continue
            self.points.append(point)
            if (settings := self._settings(point)) is not None:
                for draw in range(self.draws if not self.faults else 1):  # models may be made of each other
                    drawn = {DRAW: str(draw)} if self.draws > 1 else {}
                    yield from _at_checkpoints(labels | drawn, self._redraw(settings, draw))
        if not self.points:
            self.faults.append(self.source.fault(("exclude",), "nothing is left of the sweep"))

    def baselines(self, kind: Baseline, taken: set[str]) -> Iterator[Cell]:
        """One untrained row per distinct model of this kind, in each draw that makes another model of it."""
        seen: set[str] = set()
        for point in self.points:
            cell = self._settings(point)
            if cell is None or (settings := _untrained(cell, kind)) is None:
                continue
            content = settings.model_dump_json()
            if content in seen:
                continue
            seen.add(content)
            labels = {self.axes[i].name: self.axes[i].labels[point[i]] for i in self._determining(cell, kind)}
            name = f"{kind}={','.join(labels.values())}" if labels else kind
            while name in taken:
                name += ",untrained"
            taken.add(name)
            # The trained cell is drawn anew, since its training says which models teach.
            drawn = [_untrained(self._redraw(cell, draw), kind) or settings for draw in range(self.draws)]
            if all(made_from(one) == made_from(settings) for one in drawn):
                yield Cell(name, labels, settings, kind)
                continue
            for draw, one in enumerate(drawn):
                yield Cell(f"{name},{DRAW}={draw}", {**labels, DRAW: str(draw)}, one, kind)

    def _determining(self, cell: CellRecipe, kind: Baseline) -> list[int]:
        sections = {kind, "evaluate", "generate", "judge", "sample_seed", "eval_seed", *_made_from(cell, kind)}
        return sorted({i for name in sections for i in self.bound.get(name, [])})

    def _given(self) -> list[str]:
        return [name for name in _SECTIONS if name in self.source.data]

    def _settings(self, point: Point) -> CellRecipe | None:
        """The settings of one cell, None where they have faults."""
        parts = {name: self._section(name, self._at(name, point)) for name in self._given()}
        if self.faults and not all(ok for _, _, ok in parts.values()):
            return None
        values = {name: value for name, (_, value, _) in parts.items()}
        cell = CellRecipe.model_construct(_fields_set=set(values), **_DEFAULTS | values)
        key = tuple(self._at(name, point) for name in CHECKED)
        if key not in self._checked:
            self._checked.add(key)
            for where, what in check(cell, self.benchmarks):
                self.faults.append(self._locate(where, what, parts))
        return cell

    def _locate(self, key: Key, what: str, parts: Mapping[str, tuple[Section, Any, bool]]) -> Fault:
        section = parts[str(key[0])][0]
        written = section.data
        if isinstance(written, str):  # the short form of {model: ...}
            key = key[:1]
        return section.fault(key, what)

    def _at(self, name: str, point: Point) -> Point:
        return tuple(point[i] for i in self.bound.get(name, []))

    def _section(self, name: str, at: Point) -> tuple[Section, Any, bool]:
        if (name, at) not in self._sections:
            axes = [self.axes[i] for i in self.bound[name]]
            values: dict[str, tuple[Json, Key]] = {
                axis.name: (axis.values[i], axis.keys[i]) for axis, i in zip(axes, at, strict=True)
            }
            section = bind(self.source, name, values)
            value, faults = self._validate(section)
            self.faults += faults
            self._sections[name, at] = section, value, not faults
        return self._sections[name, at]


def _at_checkpoints(labels: dict[str, str], settings: CellRecipe) -> Iterator[Cell]:
    """A cell for each kept model of one training."""
    several = len(settings.checkpoints) > 1
    for kept in settings.checkpoints:
        own = labels | ({CHECKPOINT: kept if kept == "mean" else f"{kept:g}"} if several else {})
        yield Cell(cell_name(own), own, settings, checkpoint=kept)


def cell_name(labels: Mapping[str, str]) -> str:
    """`teacher=a,seed=0`."""
    return ",".join(f"{axis}={label}" for axis, label in labels.items()) or "cell"


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _teacher(cell: CellRecipe) -> str:
    return (cell.teacher.model if cell.teacher else None) or ""


def _made_from(cell: CellRecipe, kind: Baseline) -> set[str]:
    """What an untrained model is made from, beside its own section."""
    mixture = cell.student.architecture if kind == "student" else None
    references = [
        cell.student.model if kind == "student" else _teacher(cell),
        *(mixture.from_ or () if mixture else ()),
    ]
    sections = {"models", "data_seed"} if any(r.startswith("artifact:") for r in references) else set()
    return sections | ({"data", "data_seed"} if mixture and mixture.prompts else set())


def _untrained(cell: CellRecipe, kind: Baseline) -> CellRecipe | None:
    """The cell without training: its student as it was, or its teacher in the student's place; None without one."""
    model = cell.student.model if kind == "student" else _teacher(cell)
    if not model:
        return None
    own = ("evaluate", "generate", "judge", "sample_seed", "eval_seed", "resources", "report", "keep")
    kept = {name: getattr(cell, name) for name in (*own, *_made_from(cell, kind))}
    if kind == "teacher":
        return CellRecipe.model_construct(
            **_DEFAULTS | kept | {"student": ModelSettings(model=model), "teacher": cell.teacher}
        )
    return CellRecipe.model_construct(**_DEFAULTS | kept | {"student": cell.student})


_DEFAULTS: dict[str, Any] = {
    name: default
    for name, info in CellRecipe.model_fields.items()
    if (default := info.get_default(call_default_factory=True)) is not PydanticUndefined
}
