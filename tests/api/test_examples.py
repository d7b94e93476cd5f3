"""The examples in the docstrings of what scripts call."""

import doctest
from pathlib import Path

import pytest

from harness.api import opened, recipes, runs


@pytest.mark.parametrize("module", [recipes, runs, opened])
def test_examples_of_docstrings(
    module: object, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(tmp_path_factory.getbasetemp()))
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted
    assert not found.failed
