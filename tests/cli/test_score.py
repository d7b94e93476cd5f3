"""`harness score mt-bench` on files, in every format."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from harness.cli.score import app
from harness.core.errors import HarnessError

DATA = Path(__file__).parents[2] / "../shared/data/mt_bench"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the MT-Bench files are not here (../shared/data/mt_bench)")


def score(*words: str) -> Result:
    files = [
        "--questions",
        str(DATA / "question.jsonl"),
        "--judgments",
        str(DATA / "model_judgment/gpt-4_single.jsonl"),
    ]
    return CliRunner().invoke(app, ["mt-bench", *files, *words])


def overall(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {r["model"]: float(r["value"]) for r in rows if r["category"] == "overall"}


PUBLISHED = {"mistral-orpo-trl": 7.165625, "mistral-orpo-capybara": 6.81875}


def test_json_is_alone_on_stdout() -> None:
    result = score("--format", "json")
    assert result.exit_code == 0
    rows = json.loads(result.stdout)
    assert overall(rows) == PUBLISHED
    needed = {"model", "benchmark", "metric", "category", "value", "stderr", "n", "total"}
    assert needed <= set(rows[0])
    assert {(r["benchmark"], r["metric"]) for r in rows} == {("mt_bench", "score")}
    assert all(r["n"] == r["total"] == 160 for r in rows if r["category"] == "overall")


def test_csv() -> None:
    result = score("--format", "csv")
    assert result.exit_code == 0
    assert overall(list(csv.DictReader(io.StringIO(result.stdout)))) == PUBLISHED


def test_table_is_not_cut() -> None:
    result = score()
    assert result.exit_code == 0
    line = next(x for x in result.stdout.splitlines() if "mistral-orpo-capybara" in x and "overall" in x)
    assert line.split() == [
        "mistral-orpo-capybara",
        "gpt-4",
        "mt_bench",
        "score",
        "overall",
        "6.819",
        "0.345",
        "160",
        "160",
    ]


def test_several_judgment_files_after_one_option(tmp_path: Path) -> None:
    more = tmp_path / "more.jsonl"
    source = (DATA / "model_judgment/gpt-4_single.jsonl").read_text()
    more.write_text(source.replace("mistral-orpo-trl", "third"))
    rows = json.loads(score(str(more), "--format", "json").stdout)
    assert overall(rows)["third"] == PUBLISHED["mistral-orpo-trl"]
    assert overall(rows)["mistral-orpo-trl"] == PUBLISHED["mistral-orpo-trl"]


def test_an_unknown_format_is_an_error() -> None:
    result = score("--format", "xml")
    assert result.exit_code != 0
    assert isinstance(result.exception, HarnessError)
    assert result.stdout == ""


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none.jsonl"
    result = CliRunner().invoke(app, ["mt-bench", "--questions", str(missing), "--judgments", str(missing)])
    assert result.exit_code != 0
    assert isinstance(result.exception, HarnessError)
    assert str(missing) in str(result.exception)
