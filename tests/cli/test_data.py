"""`harness data show` and the data files in `harness validate`."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.api import cell_data
from harness.cli import app
from harness.core.errors import HarnessError
from tests.cli.command import harness

cli = CliRunner()
DOLLY = {"instruction": "Who won?", "context": "Ann beat Bob.", "response": "Ann.", "category": "qa", "tools": "[x]"}
PAIRS = {"prompt": "Who won?", "chosen": "Ann.", "rejected": "Bob."}
RECIPE = """\
name: odd
student: pocket:llama?layers=1&width=16&heads=2&seed=1
data: {train: {path: FILE}}
train: [{sft: {max_steps: 1}}]
evaluate: [{nll: {sets: {plain: {path: FILE, text: context}}}}]
"""


def file(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def recipe(folder: Path, path: Path) -> Path:
    made = folder / "odd.yaml"
    made.write_text(RECIPE.replace("FILE", str(path)))
    return made


def test_show_names_columns_rows_and_the_first_conversation(tmp_path: Path) -> None:
    path = file(tmp_path, DOLLY, {"instruction": 3}, DOLLY)
    done = cli.invoke(app, ["data", "show", str(path), "--format", "json"])
    assert done.exit_code == 0
    assert [tuple(row.values())[1:] for row in json.loads(done.stdout)] == [
        ("rows", "in the file", 3, ""),
        ("rows", "kept", 2, ""),
        ("rows", "skipped: `instruction` is a number, not text", 1, "row 2"),
        ("column", "context", 2, "used"),
        ("column", "instruction", 2, "used"),
        ("column", "response", 2, "used"),
        ("column", "category", 2, "not used"),
        ("column", "tools", 2, "not used; it may change the example"),
        ("turn", "user", None, "Who won?\n\nAnn beat Bob."),
        ("turn", "assistant (trained on)", None, "Ann."),
    ]
    assert "rows.jsonl: 1 of 3 rows skipped: `instruction` is a number, not text (row 2)\n" in done.stderr


def test_show_says_which_column_looks_like_a_response(tmp_path: Path) -> None:
    path = file(tmp_path, PAIRS)
    done = cli.invoke(app, ["data", "show", str(path), "--format", "csv"])
    assert "without a response,1" in done.stdout
    assert "no row has a response; `chosen` looks like one: `columns: {response: chosen}`" in done.stderr
    named = cli.invoke(app, ["data", "show", str(path), "--format", "csv", "--columns", "response=chosen"])
    assert "assistant (trained on),,Ann." in named.stdout
    assert "without a response" not in named.stdout


def test_show_of_a_recipe_shows_all_its_files(tmp_path: Path) -> None:
    made = recipe(tmp_path, file(tmp_path, DOLLY))
    done = cli.invoke(app, ["data", "show", str(made), "--format", "json"])
    assert {row["data"] for row in json.loads(done.stdout)} == {"data.train", "nll.plain"}
    with pytest.raises(HarnessError, match="a recipe says `columns` itself"):
        cli.invoke(app, ["data", "show", str(made), "--columns", "a=b"], catch_exceptions=False)
    with pytest.raises(HarnessError, match="expected USUAL=ACTUAL"):
        cli.invoke(app, ["data", "show", str(tmp_path / "rows.jsonl"), "--columns", "a"], catch_exceptions=False)


def test_a_table_is_no_wider_than_the_terminal_and_obeys_no_escape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path = file(tmp_path, {"prompt": "\x1b[2J" + "long " * 400, "response": "a", "odd\x1b[2J": "x"})
    done = cli.invoke(app, ["data", "show", str(path)])
    assert done.exit_code == 0
    assert "\x1b[2J" not in done.stdout
    checked = cli.invoke(
        app, ["validate", str(recipe(tmp_path, path)), "--set", "evaluate=[{pocket: {questions: 16}}]"]
    )
    assert checked.exit_code == 0, checked.output
    assert "\x1b[2J" not in checked.stdout
    assert max(map(len, checked.stdout.splitlines()[:-1])) <= 80


def test_validate_tells_what_a_run_would_train_on(tmp_path: Path) -> None:
    made = recipe(tmp_path, file(tmp_path, DOLLY, {"instruction": 3}))
    done = cli.invoke(app, ["validate", str(made)])
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "data.train (rows.jsonl)",
        "  1 of 2 rows kept",
        "  used: context, instruction, response",
        "  not used: category, tools",
        "  user: Who won?\\n\\nAnn beat Bob.",
        "  assistant (trained on): Ann.",
        "  note: 1 of 2 rows skipped: `instruction` is a number, not text (row 2)",
        "  note: `tools` is not used and may change the example (rows that have it: 1)",
        "nll.plain (rows.jsonl)",
        "  1 of 2 rows kept",
        "  used: context",
        "  note: 1 of 2 rows skipped: no text in `context` (row 2)",
        f"{made}: ok, 1 cell",
    ]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([PAIRS], ["no row has a response", "`chosen` looks like one", "not used: chosen, rejected"]),
        ([{"prompt": 3}], ["no row can be used: 1 of 1 rows skipped: `prompt` is a number, not text (row 1)"]),
        ([{"text": "a"}], ["no known schema", "Columns: text."]),
    ],
)
def test_validate_does_not_say_ok_where_a_run_would_fail(tmp_path: Path, rows: list[Any], told: list[str]) -> None:
    made = recipe(tmp_path, file(tmp_path, *rows))
    done = cli.invoke(app, ["validate", str(made), "--set", "evaluate=[{pocket: {questions: 16}}]"])
    assert (done.exit_code, "ok," in done.stdout) == (1, False)
    for text in told:
        assert text in done.stderr


def test_prompts_need_no_response(tmp_path: Path) -> None:
    """Those that a teacher answers, and a general set that no step trains on."""
    made = recipe(tmp_path, file(tmp_path, {"prompt": "Who won?"}))
    sets = ["teacher={model: 'pocket:llama?layers=1&width=16&heads=2&seed=2'}", "train=[{sft: {data: teacher}}]"]
    words = [word for one in [*sets, "evaluate=[{pocket: {questions: 16}}]"] for word in ("--set", one)]
    done = cli.invoke(app, ["validate", str(made), *words])
    assert done.exit_code == 0, done.output
    assert "  user: Who won?" in done.stdout


def test_a_command_of_the_users_needs_no_response(tmp_path: Path) -> None:
    made = recipe(tmp_path, file(tmp_path, {"prompt": "Who won?", "context": "Ann."}))
    done = cli.invoke(
        app, ["validate", str(made), "--set", "train=[{command: {run: 'true {student} {data} {out}', data: train}}]"]
    )
    assert done.exit_code == 0, done.output


def test_a_file_that_is_not_here_yet_is_named_and_not_read(tmp_path: Path) -> None:
    made = recipe(tmp_path, tmp_path / "later.jsonl")
    done = cli.invoke(app, ["validate", str(made)])
    assert (done.exit_code, done.stdout) == (0, f"{made}: ok, 1 cell\n")
    assert f"data.train: {tmp_path / 'later.jsonl'} is not here, so it was not read" in done.stderr


CELLS = """\
name: cells
student: pocket:llama?layers=1&width=16&heads=2&seed=1
data: {train: {path: FILE}, domain: {pocket: {examples: 20}}}
train: [{sft: {data: mix, ratio: 0.25, examples: 8, max_steps: 1, batch_size: 4, max_length: 48}}]
axes: {seed: [0, 1]}
seed: $seed
baselines: [student]
evaluate: [{pocket: {questions: 8}}]
"""
ODD = "\x1b[31m<b>\u202e"


def cells(folder: Path) -> Path:
    rows = [
        {"prompt": f"red {n} {ODD}", "response": "blue " * (n % 5 * 20 + 1), "language": "en" if n % 4 else ODD}
        for n in range(40)
    ]
    made = folder / "cells.yaml"
    made.write_text(CELLS.replace("FILE", str(file(folder, *rows))))
    return made


def test_a_cell_is_shown_before_it_runs_and_after(tmp_path: Path) -> None:
    made = cells(tmp_path)
    words = ["data", "show", str(made), "--cell", "seed=*", "--results", str(tmp_path / "results")]
    before = cli.invoke(app, words)
    assert before.exit_code == 0, before.output
    lines = before.stdout.splitlines()
    assert lines[:2] == ["cell seed=0", "  1 sft: mix of general 75.0%, domain 25.0%; 8 examples"]
    assert lines.count("not run yet: at most 1,000 rows, drawn at random and encoded now") == 2
    assert "rows: 40, of which 40 are trained on" in lines
    assert "column language: en 75.0%, \\x1b[31m<b>\\u202e 25.0%" in lines
    assert "<|im_start|>assistant\n⟦blue " in before.stdout
    assert not set(before.stdout) & set("\x1b\u202e")
    assert max(len(line) for line in lines if not line.startswith(("red", "⟦"))) <= 80
    assert harness("run", made, "--results", tmp_path / "results").returncode == 0
    after = cli.invoke(app, words)
    assert after.exit_code == 0, after.output
    assert "not run yet" not in after.stdout
    same = "not run yet: at most 1,000 rows, drawn at random and encoded now"
    assert after.stdout == before.stdout.replace(same, "as its run encoded it")
    table = (tmp_path / "results" / "runs" / "cells" / "report.md").read_text()
    assert "| data train (rows.jsonl) | pocket:llama?layers=1&width=16&heads=2&seed=1 | 40 | 40 |" in table


def test_a_large_dataset_is_sampled_before_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_data, "SAMPLE", 10)
    done = cli.invoke(
        app, ["data", "show", str(cells(tmp_path)), "--cell", "*", "--results", str(tmp_path), "--format", "json"]
    )
    shown = json.loads(done.stdout)
    assert [one["profile"]["rows"] for one in shown["sampled"]] == [10, 10]
    assert shown["encoded"] == []


def test_a_cell_whose_data_a_run_makes_is_told(tmp_path: Path) -> None:
    made = cells(tmp_path)
    made.write_text(made.read_text().replace("data: mix, ratio: 0.25, examples: 8", "data: teacher"))
    with made.open("a") as recipe_file:
        recipe_file.write("teacher: {model: 'pocket:llama?layers=1&width=32&heads=2&seed=2'}\n")
    done = cli.invoke(app, ["data", "show", str(made), "--cell", "*", "--results", str(tmp_path / "results")])
    assert done.exit_code == 1
    assert "responses of pocket:llama?layers=1&width=32&heads=2&seed=2: is not made yet" in done.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--cell", "student"], "no cell of this name is trained"),
        (["--cell", "none"], "no cell has a name like this"),
        (["--cell", "*", "--format", "csv"], "are no table"),
    ],
)
def test_cells_that_cannot_be_shown(tmp_path: Path, words: list[str], why: str) -> None:
    with pytest.raises(HarnessError, match=why):
        cli.invoke(app, ["data", "show", str(cells(tmp_path)), *words], catch_exceptions=False)
