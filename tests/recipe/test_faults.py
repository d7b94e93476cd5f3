"""What is said about recipes that cannot be used: exact lines."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.recipe import Recipe, RecipeError, load

Load = Callable[..., Recipe]
GOOD = "student: pocket:s\nevaluate: [{quiz: {}}]\n"
TRAINS = GOOD + "data: {train: {path: x}}\ntrain: [{sft: {}}]\n"


def table() -> list[tuple[str, str, str]]:
    """(name, recipe, faults) of bad_recipes.txt."""
    text = (Path(__file__).parent / "bad_recipes.txt").read_text()
    cases = []
    for block in re.split(r"^=== ", text, flags=re.M)[1:]:
        name, _, rest = block.partition("\n")
        recipe, _, faults = rest.partition(">>>\n")
        cases.append((name, recipe, faults.rstrip("\n")))
    return cases


@pytest.mark.parametrize(("recipe", "faults"), [(r, f) for _, r, f in table()], ids=[n for n, _, _ in table()])
def test_table(load_text: Load, recipe: str, faults: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_text(recipe)
    assert str(caught.value) == faults


NESTED = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
LAUGHS = NESTED + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))


@pytest.mark.parametrize(
    ("recipe", "fault"),
    [
        (GOOD + "train:\n\t- sft: {}\n", "r.yaml:4: a tab; indent with spaces"),
        (GOOD + "description: a\x01b\n", "r.yaml:3: character U+0001 is not allowed"),
        (GOOD + f"description: {'[' * 3000}\n", "r.yaml:1: nested too deeply"),
        (GOOD + f"description: {'[' * 60}{']' * 60}\n", "r.yaml:3: nested too deeply"),
        (LAUGHS, "r.yaml:1: more than 100000 values, anchors counted where they are used"),
        (b"student: \xff\n", "r.yaml: not utf-8 text"),
        ("#" * 1_000_001, "r.yaml: larger than 1000000 bytes: not a recipe"),
        (
            GOOD + f"seed: $a\neval_seed: $b\naxes:\n  a: {list(range(400))}\n  b: {list(range(400))}\n",
            "r.yaml:5: axes: these axes make 160000 cells; 100000 is the most",
        ),
    ],
)
def test_text_that_a_table_cannot_hold(load_text: Load, recipe: str | bytes, fault: str) -> None:
    with pytest.raises(RecipeError, match=f"^{re.escape(fault)}$"):
        load_text(recipe)


def test_a_missing_file() -> None:
    with pytest.raises(RecipeError, match=r"^nowhere/x.yaml: no such file or directory$"):
        load(Path("nowhere/x.yaml"), benchmarks={})


@pytest.mark.parametrize(
    ("sets", "faults"),
    [
        (["nope"], "--set nope: expected key=value, for example --set train.0.sft.epochs=2"),
        (["=3"], "--set =3: expected key=value, for example --set train.0.sft.epochs=2"),
        (["seed=x"], "--set seed=x: seed: expected a whole number, not 'x'"),
        (["trian.0.sft=2"], "--set trian.0.sft=2: no key 'trian'; did you mean 'train'?"),
        (["train.3.sft=2"], "--set train.3.sft=2: train: a list of 1: '3' is not one of its indices (counted from 0)"),
        (["train.x.sft=2"], "--set train.x.sft=2: train: a list of 1: 'x' is not one of its indices (counted from 0)"),
        (["student.x=y"], "--set student.x=y: student: a single value: it has no key 'x'"),
        (
            ["generate.dtype=float32"],
            "--set generate.dtype=float32: no key 'generate'; there are student, evaluate, data, train; "
            "add it whole: generate={...}",
        ),
        (
            ["train.0.sft.epoch=2"],
            "--set train.0.sft.epoch=2: train[0].sft.epoch: unknown key; did you mean 'epochs'?",
        ),
        (
            ["train.0={sft: [}"],
            "--set train.0={sft: [}: expected the node content, but found '}' (while parsing a flow node)",
        ),
        (
            ["train.0.sft.epochs=-1", "seed=1.5"],
            "--set seed=1.5: seed: expected a whole number, not 1.5\n"
            "--set train.0.sft.epochs=-1: train[0].sft.epochs: must be more than 0, not -1",
        ),
    ],
)
def test_overrides(load_text: Load, sets: list[str], faults: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_text(TRAINS, *sets)
    assert str(caught.value) == faults


def test_a_fault_of_many_cells_is_one(load_text: Load) -> None:
    text = TRAINS.replace("sft: {}", "sft: {data: domain}") + "seed: $seed\naxes: {seed: [0, 1, 2]}\n"
    with pytest.raises(RecipeError) as caught:
        load_text(text)
    assert [str(f) for f in caught.value.faults] == [
        "r.yaml:4: train[0].sft.data: this step trains on data.domain, which the recipe does not have"
    ]


def test_faults_survive_the_trip_between_processes(load_text: Load) -> None:
    with pytest.raises(RecipeError) as caught:
        load_text("student: pocket:s\n")
    assert str(pickle.loads(pickle.dumps(caught.value))) == "r.yaml:1: missing key 'evaluate'"
