"""Every command explains itself, with an example that can be typed."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from harness.cli import app
from harness_papers.command import app as paper

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its words, groups included."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


ALL = dict(commands(typer.main.get_command(app))) | dict(commands(typer.main.get_command(paper), ("paper",)))
LEAVES = {path: command for path, command in ALL.items() if not hasattr(command, "commands")}


def shown(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "120", "TERM": "dumb"})
    assert result.exit_code == 0, result.output
    return ESCAPES.sub("", result.stdout)


def test_the_commands_are_all_here() -> None:
    names = {" ".join(path) for path in LEAVES}
    expected = {"run", "plan", "status", "scores", "compare", "report", "validate"}
    assert expected | {"recipes ls", "recipes cp", "models ls", "data ls", "data pull", "score mt-bench"} <= names


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help(path: tuple[str, ...]) -> None:
    text = shown(*path, "--help")
    assert "Usage:" in text
    assert shown(*path, "-h") == text


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_shows_an_example_of_itself(path: tuple[str, ...]) -> None:
    text = shown(*path, "--help")
    assert re.search(rf"Examples?:\s+harness {' '.join(path)}\b", text), text


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_example_is_one_that_the_command_takes(path: tuple[str, ...]) -> None:
    """Its words are parsed (not run): an option that was renamed is found out here."""
    command = LEAVES[path]
    examples = re.findall(r"harness [^\n]+", command.help or "")
    for example in examples:
        words = shlex.split(example)[1 + len(path) :]
        with command.make_context(" ".join(path), words):
            pass
    assert examples


def test_an_option_that_is_not_there_is_an_error() -> None:
    result = CliRunner().invoke(app, ["run", "a.yaml", "--jbos", "2"])
    assert result.exit_code == 2
    assert "--jobs" in result.output, "the near one is named"


def test_version_and_the_module_from_a_shell() -> None:
    words = [sys.executable, "-c", "from harness.cli import main; main()", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", done.stdout)
