"""Registries: entries of a room's files, and those that plug-ins add."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.core.discover import discover, in_tree
from harness.core.errors import HarnessError

THING = "from types import SimpleNamespace\nTHING = SimpleNamespace(name='{}')\n"


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `plugged` with one thing, `a`."""
    folder = tmp_path / "plugged"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "first.py").write_text(THING.format("a"))
    monkeypatch.syspath_prepend(tmp_path)
    in_tree.cache_clear()
    yield folder
    in_tree.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "plugged"]:
        del sys.modules[name]


def things() -> list[str]:
    return list(discover("plugged", "THING", SimpleNamespace))


def test_a_new_file_is_a_new_entry(room: Path) -> None:
    (room / "second.py").write_text(THING.format("b"))
    (room / "_private.py").write_text(THING.format("c"))
    (room / "helpers.py").write_text("from plugged.first import THING as OTHER\n")
    assert things() == ["a", "b"]


def test_two_files_of_one_name_are_refused(room: Path) -> None:
    (room / "second.py").write_text(THING.format("a"))
    with pytest.raises(HarnessError, match=r"plugged: second.py exports a THING named 'a'"):
        things()


def test_the_same_thing_seen_twice_is_one(room: Path) -> None:
    (room / "second.py").write_text("from plugged.first import THING\n")
    assert things() == ["a"]
