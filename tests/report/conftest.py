from pathlib import Path
from types import ModuleType

import pytest

from harness.report import style
from tests.report import fake_run as module


@pytest.fixture
def every_format() -> None:
    """For tests that look at the figures' PNG and PDF files."""


@pytest.fixture(autouse=True)
def figures_for_pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page holds its figures as SVG; the other formats take longer to draw than all the rest."""
    if "every_format" not in request.fixturenames:
        monkeypatch.setattr(style, "_PAPER", {})


@pytest.fixture(scope="session")
def fake_run() -> ModuleType:
    """The module that writes fake run folders."""
    return module


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A healthy fake run."""
    return module.Fake().write(tmp_path_factory.mktemp("run"))
