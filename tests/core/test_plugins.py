"""Plug-ins: files and entry points, what identifies them, and each way to be broken."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core import plugins
from harness.core.canonical import file_digest
from harness.core.discover import used
from harness.core.errors import HarnessError
from harness.core.plugins import VARIABLE, plugged
from harness.train.api import steps

STEP = """\
from harness.train.api import Step
from harness.train.settings import StepSettings


class MineSettings(StepSettings):
    \"\"\"Of a step of my own.\"\"\"


STEP = Step("{name}", MineSettings, lambda settings, teachers, vocab_size: None)
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages that the test fills."""
    monkeypatch.syspath_prepend(tmp_path)
    plugins._entry_points.cache_clear()
    yield tmp_path
    plugins._entry_points.cache_clear()
    sys.modules.pop("mine_steps", None)


def install(site: Path, version: str, text: str, value: str = "mine_steps:MINE") -> None:
    (site / "mine_steps.py").write_text(text)
    info = site / "mine-1.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mine\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[harness.steps]\nmine = {value}\n")
    importlib.invalidate_caches()


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    path.write_text(text)
    return path


def test_a_file_adds_what_it_exports_while_it_is_plugged_in(tmp_path: Path) -> None:
    path = write(tmp_path, STEP.format(name="mine"))
    before = os.environ.get(VARIABLE)
    with plugged([path]) as files:
        assert files == (path,)
        assert list(steps()) == sorted(["mine", "command", "dae", "kd", "sft"])
        (plugin,) = used("STEP", ["mine", "sft"]).values()
        assert plugin.identity == {"digest": file_digest(path)}
    assert "mine" not in steps()
    assert os.environ.get(VARIABLE) == before


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, STEP.format(name="mine"))
    with plugged([path]):
        assert "mine" in steps()
        write(tmp_path, STEP.format(name="yours"))
        assert "yours" in steps()
        assert "mine" not in steps()


def test_a_file_may_write_its_annotations_as_text(tmp_path: Path) -> None:
    """What dataclasses and pydantic make of such annotations they look up in the module, by its name."""
    fields = "    power: float = 1.0\n\n\n@dataclass\nclass Kept:\n    name: str = ''\n"
    text = STEP.format(name="mine").replace('my own."""\n', 'my own."""\n\n' + fields)
    path = write(tmp_path, "from __future__ import annotations\nfrom dataclasses import dataclass\n" + text)
    with plugged([path]):
        assert steps()["mine"].settings.model_fields["power"].annotation is float


def test_a_package_adds_its_entry_points_with_its_version(site: Path) -> None:
    install(site, "1.2", STEP.format(name="mine").replace("STEP =", "MINE ="))
    assert "mine" in steps()
    (plugin,) = used("STEP", ["mine"]).values()
    assert plugin.identity == {"digest": file_digest(site / "mine_steps.py"), "package": "mine 1.2"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("import nothing_like_this\n", r"mine.py:1: the plug-in cannot be imported \(ModuleNotFoundError: No module"),
        ("x = 1\nSTEP = 1 / 0\n", r"mine.py:2: the plug-in cannot be imported \(ZeroDivisionError"),
        ("def f(:\n", r"mine.py:1: the plug-in cannot be imported \(SyntaxError"),
        ("x = 1\n", "mine.py: exports none of BENCHMARK, STEP, SCORE, FORM, ENGINE"),
        ("STEP = 3\n", "mine.py: its STEP is no Step but a int"),
        (STEP.format(name="sft"), "mine.py: its STEP is called 'sft', and so is one of the harness"),
    ],
)
def test_a_broken_file_is_a_line_with_cause_and_fix(tmp_path: Path, text: str, fault: str) -> None:
    with plugged([write(tmp_path, text)]), pytest.raises(HarnessError, match=fault) as caught:
        steps()
    assert caught.value.fix


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with plugged([tmp_path / "gone.py"]), pytest.raises(HarnessError, match=r"gone\.py: no such plug-in"):
        steps()
    (tmp_path / "notes.txt").write_text("")
    with plugged([tmp_path / "notes.txt"]), pytest.raises(HarnessError, match=r"notes\.txt: is no Python file"):
        steps()


def test_two_plugins_of_one_name_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path, STEP.format(name="mine"))
    second = first.with_name("second.py")
    second.write_text(first.read_text())
    with plugged([first, second]), pytest.raises(HarnessError, match=r"'mine', and so is one of .*mine.py"):
        steps()


def test_a_broken_package_is_said(site: Path) -> None:
    install(site, "1.2", "MINE = 1 / 0\n")
    with pytest.raises(
        HarnessError, match=r"'mine = mine_steps:MINE' cannot be loaded \(ZeroDivisionError.*\n.*mine 1.2"
    ):
        steps()
