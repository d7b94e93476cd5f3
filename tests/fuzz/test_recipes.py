"""Whatever a recipe says: cells that can be run, or faults that each name their place. Never a traceback."""

import itertools
import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import strategies as st

from harness.recipe import Recipe, RecipeError, load
from harness.recipe.source import dump, read
from tests.fuzz.mutations import changed, paths, values
from tests.fuzz.profiles import fuzz

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "recipes").rglob("*.yaml"))
DATA = [read(path)[0].data for path in FILES]
TEXTS = [path.read_text() for path in FILES]
SAFE = re.compile(r"[A-Za-z0-9_.+=,-]+")

hostile = st.sampled_from(
    [
        *("!!python/object/apply:os.system ['touch ran']", "!include /etc/passwd", "!!binary aGk=", "!x", "! a"),
        *("&a [*a]", "&a {x: *a}", "*gone", "{<<: {a: 1}}", "<<: *a", "{a: 1, a: 2}", "2026-01-01", "1:30", "0x1F"),
        *(".nan", ".inf", "-.inf", "1e999", "9" * 30, "1_000", "010", "-0", "1e-999", "0.1e308"),
        *("'../../x'", "/etc/passwd", "..", ".", "~/x", '"\\0"', '"\\ud800"', '"\\UFFFFFFFF"', '"\\e[2J"', '"a\\nb"'),
        *("$seed", "$x", "${x}", "${", "${${x}}", "$", "'$'", "%TAG ! x", "--- 1", "...", "\t1", "\ufeff", "\x85"),
        *("[" * 60, "[" * 3000, "{a: " * 200, "? ? ?", "- - -", "|\n  a", ">-", "'" * 9, "#", "x" * 100_000),
        "[&a [1,1,1,1,1,1,1,1,1], &b [*a,*a,*a,*a,*a,*a,*a,*a,*a], &c [*b,*b,*b,*b,*b,*b,*b,*b,*b], "
        "&d [*c,*c,*c,*c,*c,*c,*c,*c,*c], &e [*d,*d,*d,*d,*d,*d,*d,*d,*d], [*e,*e,*e,*e,*e,*e,*e,*e,*e]]",
    ]
)
"""YAML that has hurt somebody."""
words = st.sampled_from(
    [
        *("$seed", "$teacher", "$x", "${data}", "${x}", "artifact:student", "artifact:x", "pocket:llama", "path:../x"),
        *("endpoint:x", "hf:a/b@c", "hf:../..", "teacher", "student", "mix", "cached", "moe", "pocket", "sft", "kd"),
        *("2e-5", "nan", "-1", "1" * 19, "..", "../x", "a/b", "a b", ".hidden", "", "\x1b[31m", "\u2028", "é"),
    ]
)


def whole(folder: Path, text: str | bytes, *sets: str) -> Recipe | None:
    """The recipe, sound in every cell; None where it was refused, each fault in one line with its place."""
    path = folder / "r.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        recipe = load(path, sets)
    except RecipeError as error:
        assert error.faults
        for fault in error.faults:
            assert fault.place.text.startswith((str(path), "--set"))
            assert str(fault).isprintable(), f"not one line of text: {str(fault)!r}"
        return None
    assert not (folder / "ran").exists(), "a recipe ran something"
    check(recipe)
    path.write_text(recipe.text, encoding="utf-8", newline="")
    assert described(load(path)) == described(recipe), "its own text is another recipe"
    return recipe


def described(recipe: Recipe) -> Any:
    """What a recipe's cells are, as plain values."""
    cells = [(cell.name, dict(cell.labels), cell.baseline, cell.checkpoint, cell.settings) for cell in recipe.cells]
    return recipe.name, recipe.description, recipe.axes, cells


def check(recipe: Recipe) -> None:
    """Names that stay in their folder and are unlike each other; numbers that are numbers."""
    assert SAFE.fullmatch(recipe.name)
    assert not recipe.name.startswith(".")
    names = [cell.name for cell in recipe.cells]
    assert names
    assert len(set(names)) == len(names)
    for cell in recipe.cells:
        assert SAFE.fullmatch(cell.name)
        assert cell.name.strip(".")
    for settings in {id(cell.settings): cell.settings for cell in recipe.cells}.values():
        for value in _leaves(settings.model_dump()):
            assert not isinstance(value, float) or math.isfinite(value)
        for name in (*settings.models, *settings.data.domain_names):
            assert SAFE.fullmatch(name), f"a model or a domain called {name!r}"
        for step in (*settings.train, *itertools.chain(*(made.train for made in settings.models.values()))):
            select = getattr(step.settings, "select", 0)
            rates = [getattr(step.settings, "learning_rate", 1.0), *getattr(select, "learning_rate", ())]
            assert all(rate > 0 for rate in rates), f"trained at {rates}"


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_fuzzed_recipes_are_good(path: Path, tmp_path: Path) -> None:
    assert whole(tmp_path, path.read_text())


@fuzz(15, 1200, text=st.text(max_size=200) | st.binary(max_size=200) | hostile.map("student: {}".format) | hostile)
def test_any_text(tmp_path: Path, text: str | bytes) -> None:
    whole(tmp_path, text)


@fuzz(20, 1300, data=st.integers(0, len(DATA) - 1).flatmap(lambda which: changed(DATA[which], values | words)))
def test_values_changed(tmp_path: Path, data: Any) -> None:
    try:
        text = dump(data)
        text.encode()
    except (UnicodeEncodeError, yaml.YAMLError, ValueError):
        return  # no file can hold it, or its number has more digits than Python writes
    whole(tmp_path, text)


@st.composite
def put_between(draw: st.DrawFn) -> str:
    """A recipe with a hostile fragment for a value, for a key, in a line of its own, or in the middle of anything."""
    text, fragment = draw(st.sampled_from(TEXTS)), draw(hostile | st.text(max_size=6))
    at = draw(st.sampled_from([m.end() for m in re.finditer(r": |- |\n *|\[|, ", text)]) | st.integers(0, len(text)))
    end = text.find("\n", at) if draw(st.booleans()) else at + draw(st.integers(0, 8))
    return text[:at] + fragment + text[max(end, at) :]


@fuzz(15, 1200, text=put_between())
def test_text_changed(tmp_path: Path, text: str) -> None:
    whole(tmp_path, text)


@fuzz(
    15,
    500,
    which=st.integers(0, len(DATA) - 1),
    at=st.integers(0, 10**6),
    key=st.none() | st.text(max_size=10) | st.sampled_from(["name", "seed", "vars.x", "axes.seed", "train.0", "a..b"]),
    value=hostile | words | st.text(max_size=10),
)
def test_any_override(tmp_path: Path, which: int, at: int, key: str | None, value: str) -> None:
    if key is None:
        there = paths(DATA[which])
        key = ".".join(str(part) for part in there[at % len(there)])
    whole(tmp_path, TEXTS[which], f"{key}={value}")
