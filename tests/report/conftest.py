"""The fake run, loaded by path: tests are no package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fake_run", Path(__file__).parent / "fake_run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fake_run() -> ModuleType:
    """The module that writes fake run folders."""
    return _load()


@pytest.fixture(scope="session")
def run_folder(fake_run: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A healthy fake run."""
    folder: Path = fake_run.Fake().write(tmp_path_factory.mktemp("run"))
    return folder
