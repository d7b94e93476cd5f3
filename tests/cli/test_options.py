"""A command's options may come to it in groups."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from harness.cli.options import grouped


@dataclass(frozen=True)
class Size:
    """Two options."""

    width: Annotated[int, typer.Option(min=1, help="In cells.")] = 1
    tall: bool = False


SMALL = Size()


@grouped
def draw(name: str, size: Size = SMALL, color: str = "red") -> None:
    """Draw it."""
    print(name, size, color)


@pytest.mark.parametrize(
    ("words", "size"),
    [([], SMALL), (["--width", "3", "--tall"], Size(3, True)), (["--no-tall"], SMALL)],
)
def test_a_group_arrives_as_one(words: list[str], size: Size) -> None:
    app = typer.Typer()
    app.command()(draw)
    result = CliRunner().invoke(app, ["box", *words, "--color", "blue"])
    assert result.stdout == f"box {size} blue\n"


def test_an_option_of_a_group_is_checked_and_explained_like_any_other() -> None:
    app = typer.Typer()
    app.command()(draw)
    assert CliRunner().invoke(app, ["box", "--width", "0"]).exit_code == 2
    told = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}).stdout
    places = [told.index(part) for part in ("Draw it.", "--width", "In cells.", "--tall", "--color")]
    assert places == sorted(places)
    assert "--size" not in told
