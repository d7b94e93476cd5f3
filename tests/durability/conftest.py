"""One small finished run, and copies of it to do harm to."""

import shutil
from pathlib import Path

import pytest

from tests.cli import recipes
from tests.cli.command import harness

AWKWARD = "my results (ä, 結果) #1 100%"
"""A folder's name with what breaks carelessly built paths, commands and addresses."""
ONE = ("run", "tiny.yaml", "--only", "method=kd,seed=0")
"""What was run, in the folder above."""


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder; the recipe lies beside it."""
    folder = tmp_path_factory.mktemp("durable")
    recipes.write(folder)
    done = harness(*ONE, "--results", folder / AWKWARD, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / AWKWARD


@pytest.fixture
def results(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy; the test is in the folder that holds it and the recipe."""
    shutil.copy(finished.parent / "tiny.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(finished, tmp_path / AWKWARD)
