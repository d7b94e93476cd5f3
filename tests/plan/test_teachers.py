"""Teacher stages of a plan: what a reward needs is asked for before anything runs."""

from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.plan.build import build
from harness.recipe.load import load

RECIPE = """\
student: pocket:llama?layers=1&width=16&heads=2&seed=1
teacher: {model: $teacher}
data: {prompts: {pocket: {examples: 4}}}
axes: {teacher: [{one: "pocket:llama?seed=2"}, {two: "pocket:llama?seed=3"}]}
teachers: {reward: {strength: true}, about: ABOUT}
"""


def planned(folder: Path, about: str) -> int:
    path = folder / "r.yaml"
    path.write_text(RECIPE.replace("ABOUT", about))
    return len(build(load(path)).cells)


def test_a_strength_that_is_not_given_is_named(tmp_path: Path) -> None:
    assert planned(tmp_path, "{one: {strength: 1.0}, two: {strength: 0.0}}") == 2
    for about in ("{one: {strength: 1.0}}", "{one: {strength: 1.0}, two: {size_b: 7}}"):
        with pytest.raises(HarnessError, match="the strength of 'two' is not given") as caught:
            planned(tmp_path, about)
        assert "two: {strength: ...}" in (caught.value.fix or "")
