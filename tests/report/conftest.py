from pathlib import Path
from types import ModuleType

import pytest

from tests.report import fake_run as module


@pytest.fixture(scope="session")
def fake_run() -> ModuleType:
    """The module that writes fake run folders."""
    return module


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A healthy fake run."""
    return module.Fake().write(tmp_path_factory.mktemp("run"))
