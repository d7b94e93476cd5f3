import json
from pathlib import Path
from types import ModuleType

import pytest
import typer
from typer.testing import CliRunner

from harness.cli import app as everything
from harness.cli.compare import compare
from harness.cli.report import report
from harness.record.folder import PlannedRow

app = typer.Typer()
app.command()(report)
app.command()(compare)


@pytest.fixture(scope="module")
def results(fake_run: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("results")
    fake = fake_run.Fake(questions=24, tasks=10)
    folder = fake.write(results / "runs" / "pocket-teachers")
    (folder / "plan.json").write_text(
        json.dumps({"cells": [vars(PlannedRow(c.cell, c.labels, c.baseline, ())) for c in fake.cells]})
    )
    return results


def test_report_prints_the_pages_path(results: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["report", "pocket-teachers", "--results", str(results), "--out", str(tmp_path)])
    assert found.exit_code == 0, found.output
    assert found.stdout.strip() == str(tmp_path / "report.html")
    assert (tmp_path / "report.html").exists()


def test_compare_prints_json_and_fails_on_a_broken_requirement(results: Path) -> None:
    words = ["compare", "pocket-teachers", "--results", str(results), "--format", "json"]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    rows = json.loads(found.stdout)
    assert len(rows) == 12
    assert {"cell", "baseline", "metric", "difference", "difference_low", "p_holm", "mde", "verdict"} <= set(rows[0])
    assert CliRunner().invoke(app, [*words, "--require", "mt_bench: better"]).exit_code == 0
    broken = CliRunner().invoke(app, [*words, "--baseline", "teacher", "--require", "score: better"])
    assert broken.exit_code == 1
    assert "does not hold: score: better: teacher=" in broken.stderr
    assert json.loads(broken.stdout)


def test_scores_are_written_as_records_of_every_eval_ever(results: Path, tmp_path: Path) -> None:
    words = ["scores", "pocket-teachers", "--results", str(results), "--every-eval-ever", str(tmp_path)]
    done = CliRunner().invoke(everything, words)
    assert done.exit_code == 0, done.output
    files = [Path(line) for line in done.stdout.splitlines()]
    assert len(files) == len({*files})
    assert all(json.loads(file.read_text())["schema_version"] == "0.3.0" for file in files)
