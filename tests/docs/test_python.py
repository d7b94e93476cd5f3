"""docs/python.md: its code is run from top to bottom."""

import re
from pathlib import Path

import pytest

import harness

PAGE = (Path(__file__).parents[2] / "docs/python.md").read_text()


def test_the_code_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)
    assert "first" in capsys.readouterr().out


def test_every_name_of_the_package_is_on_the_page() -> None:
    types = {
        "Comparisons",
        "Forecast",
        "HarnessError",
        "Ray",
        "Recipe",
        "Rehearsal",
        "Run",
    }  # what the functions take and return
    assert [name for name in harness.__all__ if f"`{name}`" not in PAGE and name not in types] == []
