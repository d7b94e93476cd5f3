"""Words of YAML, and: whatever the text, an answer or a fault, never a traceback."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.core.errors import HarnessError
from harness.recipe import Recipe, RecipeError
from harness.recipe.source import dump, read, scalar

Load = Callable[..., Recipe]
FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

RECIPE = """\
name: fuzz
description: "${d} of it"
vars: {d: x}
student: {model: pocket:s}
teacher: $t
models:
  m: {base: pocket:m, data: {train: {path: x}}, train: [{sft: {}}]}
data: {train: {path: x, where: {a: 1}}, prompts: {pocket: {examples: 5}}}
train: [{sft: {data: teacher, epochs: $e}}, {kd: {lambda: 0.5}}]
evaluate: [{quiz: {examples: 3}}, {judged: {data: d}}]
judge: {model: j}
seed: $s
axes: {t: [pocket.t, {a: artifact:m}], e: [1, 2], s: [0, 1]}
exclude: [{t: a, s: 0}]
baselines: [student, teacher]
""".replace("pocket.t", "{b: pocket:t}")

words = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(
        ["$s", "$x", "${d}", "${", "artifact:m", "teacher", "sft", "quiz", "1e5", "010", "yes", "=", "<<", ""]
    ),
)
values = st.recursive(
    words,
    lambda v: (
        st.lists(v, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.sampled_from(["sft", "quiz", "null", "<<"]), v, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("2e-5", 2e-5),
        ("1.", 1.0),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        *(
            (word, word)
            for word in ("2026-01-01", "yes", "on", "010", "0x10", "1_000", "12:30", ".inf", ".nan", "+", ".")
        ),
    ],
)
def test_words(text: str, value: Any) -> None:
    got = scalar(text)
    assert got == value
    assert type(got) is type(value)


@FUZZ
@given(st.dictionaries(st.text(max_size=5), values, min_size=1, max_size=4))
def test_what_is_dumped_reads_back(tmp_path: Path, data: dict[str, Any]) -> None:
    path = tmp_path / "r.yaml"
    try:
        path.write_text(dump(data), encoding="utf-8", newline="")
        source, _ = read(path)
    except (HarnessError, UnicodeEncodeError):
        return  # numbers and characters that a recipe refuses
    assert source.data == data


def load_or_fault(load_text: Load, text: str | bytes, *sets: str) -> None:
    """Anything but cells or a HarnessError whose every fault names its place fails the test."""
    try:
        cells = load_text(text, *sets).cells
    except RecipeError as error:
        places = [fault.place.text for fault in error.faults]
        cells = []
    else:
        places = ["r.yaml"]
    assert cells or places
    assert all(place.startswith(("r.yaml", "--set")) for place in places)


@FUZZ
@given(st.text() | st.binary())
@example('a: "\\UFFFFFFFF"')
@example("? ? ? a")
@example("&a [*a]")
def test_any_text(load_text: Load, text: str | bytes) -> None:
    load_or_fault(load_text, text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))


def places(value: Any, key: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key path in a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [key, *(p for name, item in items for p in places(item, (*key, name)))]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("fuzz") / "r.yaml"
    path.write_text(RECIPE)
    return read(path)[0].data


@FUZZ
@given(data=st.data())
def test_a_recipe_with_parts_replaced(load_text: Load, whole: dict[str, Any], data: st.DataObject) -> None:
    import copy

    mutated = copy.deepcopy(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(places(mutated)[1:]))
        node: Any = mutated
        for part in key[:-1]:
            node = node[part]
        if data.draw(st.booleans()):
            node[key[-1]] = data.draw(values)
        elif len(node) > 1:
            del node[key[-1]]
    try:
        text = dump(mutated).encode()
    except UnicodeEncodeError:
        return
    load_or_fault(load_text, text)


@FUZZ
@given(
    at=st.integers(0, len(RECIPE) - 1),
    cut=st.integers(0, 4),
    text=st.text(alphabet="$ {}[]:,-&*!#|>'\"\n\tab01", max_size=4),
)
def test_a_recipe_with_characters_replaced(load_text: Load, at: int, cut: int, text: str) -> None:
    load_or_fault(load_text, RECIPE[:at] + text + RECIPE[at + cut :])


@FUZZ
@given(
    key=st.sampled_from(["seed", "train.0.sft.epochs", "axes.s", "vars.d", "student", "models.m.base", "x"])
    | st.text(),
    value=st.text(),
)
def test_any_override(load_text: Load, key: str, value: str) -> None:
    load_or_fault(load_text, RECIPE, f"{key}={value}")


def test_the_fuzzed_recipe_is_good(load_text: Load) -> None:
    assert len(load_text(RECIPE).swept) == 6
