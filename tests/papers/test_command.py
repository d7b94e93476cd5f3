"""`harness paper`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.core.errors import HarnessError
from tests.report.fake_run import Fake


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = Fake(questions=8, tasks=8, seeds=1).write(tmp_path / "runs" / "mine")
    (folder / "plan.json").write_text('{"cells": []}')
    return tmp_path


def test_list_says_where_numbers_are_from() -> None:
    done = CliRunner().invoke(app, ["paper", "list", "--format", "json"])
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["stronger_teachers_table4"]["numbers"] == "published"
    assert rows["stronger_teachers_figure2"]["numbers"] == "derived"
    assert rows["teacher_million_radar_by_eye"]["numbers"] == "by eye"
    assert rows["stronger_teachers_table1"]["--run"] == "no"


def test_show_prints_a_table_and_its_notes() -> None:
    done = CliRunner().invoke(app, ["paper", "show", "stronger_teachers_table4"])
    assert done.exit_code == 0
    assert "0.9439" in done.stdout
    assert "No mark: as published." in done.stderr


def test_show_as_json_has_a_row_per_number() -> None:
    done = CliRunner().invoke(app, ["paper", "show", "stronger_teachers_figure2", "--format", "json"])
    rows = json.loads(done.stdout)
    assert len(rows) == 95
    assert {row["origin"] for row in rows} == {"derived"}


def test_show_with_a_run(results: Path) -> None:
    arguments = ["paper", "show", "teacher_million_main", "--run", "mine", "--results", str(results)]
    done = CliRunner().invoke(app, [*arguments, "--format", "json"])
    assert "run pocket-teachers" in {row["source"] for row in json.loads(done.stdout)}


def test_build_with_a_run_writes_into_the_run(results: Path) -> None:
    arguments = ["paper", "build", "teacher_million_main", "--run", "mine", "--results", str(results)]
    done = CliRunner().invoke(app, arguments)
    page = results / "runs" / "mine" / "papers" / "README.md"
    assert done.stdout.strip() == str(page)
    assert "student" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "table9"], "no table or figure 'table9'"),
        (["show", "stronger_teachers_table4", "--format", "xml"], "no such format"),
        (["build", "--run", "nowhere"], "no such run"),
        (["build", "stronger_teachers_table4", "--run", "mine"], "nothing for stronger_teachers_table4"),
    ],
)
def test_faults_are_told(arguments: list[str], message: str, results: Path) -> None:
    options = ["--results", str(results)] if "--run" in arguments else []
    done = CliRunner().invoke(app, ["paper", *arguments, *options])
    assert isinstance(done.exception, HarnessError)
    assert message in str(done.exception)
