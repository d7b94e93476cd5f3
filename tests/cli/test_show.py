"""The summary that ends a run: fitted to the terminal, and short whatever the run's size."""

from pathlib import Path

import pytest

from harness.cli._summary import draw
from harness.report.load import load_run
from harness.report.summary import summary
from tests.cli import recipes
from tests.cli.command import harness
from tests.report.fake_run import METRICS, Fake


def drawn(fake: Fake, folder: Path, capsys: pytest.CaptureFixture[str], width: int) -> list[str]:
    """The summary of a fake run, line by line."""
    draw(summary(load_run(fake.write(folder))), [folder / "report.html"], width)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_it_fits_the_width_and_cuts_no_number(width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = drawn(Fake(), tmp_path, capsys, width)
    assert max(map(len, (line for line in lines if not line.startswith("report: ")))) <= width
    assert not any("…" in line for line in lines)
    for row in summary(load_run(tmp_path)).scores.frame().to_dict("records"):
        for metric in METRICS:
            value = row[f"{metric.benchmark}_{metric.metric}"]
            assert any(f"{value:.1f}" in line or f"{value:.2f}" in line for line in lines), (row, metric)


def test_at_80_columns_a_table_too_wide_for_intervals_is_whole_without_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = drawn(Fake(), tmp_path, capsys, 80)
    heads = [line for line in lines if "MT-Bench" in line and "pocket general" in line and "pocket domain" in line]
    assert len(heads) == 1, "all three metrics stand side by side"
    assert any("[" in line for line in drawn(Fake(), tmp_path, capsys, 120) if line.strip().startswith("large"))


def test_differences_that_are_shown_have_a_line_and_the_others_a_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = drawn(Fake(), tmp_path, capsys, 100)
    family = lines.index("What teacher changes, against large")
    assert lines[family + 1].split()[0] == "worse"
    assert any("underpowered" in line or "no difference shown" in line for line in lines)


def test_two_hundred_cells_stay_readable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = Fake(questions=4, tasks=4, seeds=1, axes={"teacher": [f"t{k}" for k in range(50)], "method": list("abcd")})
    many.record["warnings"] = tuple(f"warning number {k}" for k in range(40))
    lines = drawn(many, tmp_path, capsys, 100)
    assert len(lines) < 80
    assert "178 more rows: harness scores pocket-teachers" in lines
    assert any("more warnings in the report" in line for line in lines)


def test_a_hostile_name_is_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "[red]x[/red] :smile: [link=file:///etc]y"
    lines = drawn(Fake(axes={"teacher": [hostile, "small"], "method": ["sft"]}), tmp_path, capsys, 200)
    assert any(hostile in line for line in lines)


def test_a_run_ends_with_it_and_show_prints_it_again(tmp_path: Path) -> None:
    recipe, results = recipes.write(tmp_path), ("--results", tmp_path / "results")
    done = harness("run", recipe, *results)
    assert done.returncode == 0, done.stderr
    assert "What method changes, against sft" in done.stdout
    assert done.stdout.splitlines()[-1] == f"report: {tmp_path / 'results/runs/tiny/report.html'}"
    assert harness("show", "tiny", *results).stdout == done.stdout
    again = harness("run", recipe, *results)
    assert again.stdout == "", "there is no news"
    assert "harness show tiny" in again.stderr


def test_no_such_run_names_those_that_are_there(tmp_path: Path) -> None:
    done = harness("show", "other", "--results", tmp_path)
    assert done.returncode == 1
    assert "no such run" in done.stderr
