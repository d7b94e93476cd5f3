"""Commands that other packages bring by entry points."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import harness


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("mine_command", None)


def install(site: Path, text: str, name: str = "mine") -> None:
    (site / "mine_command.py").write_text(text)
    info = site / "mine-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[harness.commands]\n{name} = mine_command:app\n")


ECHO = """
import typer
app = typer.Typer()

@app.command()
def echo(word: str) -> None:
    "Say a word."
    print(word)
"""


def test_a_package_brings_a_command(site: Path) -> None:
    install(site, ECHO)
    assert harness("mine", "hello").stdout == "hello\n"
    assert "Say a word." in harness("--help").stdout
    assert harness("nothing").returncode == 2


def test_one_of_our_names_stays_ours(site: Path) -> None:
    install(site, ECHO, "doctor")
    assert "Check this environment" in harness("doctor", "--help").stdout


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("import nothing_like_this\n", "'mine = mine_command:app' cannot be loaded (ModuleNotFoundError"),
        ("app = 3\n", "'mine = mine_command:app' is no app of typer's"),
    ],
)
def test_a_broken_command_is_told_when_it_is_called_and_stops_no_other(site: Path, text: str, fault: str) -> None:
    install(site, text)
    done = harness("mine")
    assert done.returncode == 1
    assert fault in done.stderr
    assert "mine 1.2" in done.stderr
    assert harness("recipes", "ls").returncode == 0
