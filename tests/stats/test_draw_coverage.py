"""The study of intervals over draws, in small: pairs cover, and seeds of a single draw do not where draws differ."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from harness.recipe import load

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_study", BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_pairs_cover_and_seeds_of_a_single_draw_do_not() -> None:
    study = script("draw_coverage")
    paired, apart = study.over_draws(100, "teachers that differ much", 5, 1)
    assert (paired.method, apart.method) == ("paired by draw", "draws unpaired")
    assert paired.percent >= 90
    (single,) = study.over_draws(100, "teachers that differ much", 1, 3)
    assert single.percent <= 60
    assert study.new_draw(100, "teachers that differ much", 5).percent >= 88


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_intervals_over_draws_cover() -> None:
    wrong = [
        finding
        for finding in script("draw_coverage").study(1000)
        if finding.method in ("paired by draw", "a new draw")
        and not 93 <= finding.percent <= (100 if finding.draws < 5 else 98.5)
    ]
    assert not wrong


def test_the_replication_is_a_recipe_with_each_cell_in_each_draw() -> None:
    study = script("replication")
    recipe = load(study.recipe(3))
    assert len(recipe.cells) == 3 * sum(map(len, study.CELLS.values()))
    found = {tuple(cell.labels[axis] for axis in ("teacher", "method", "data")) for cell in recipe.cells}
    assert found == set(study.CELLS)
