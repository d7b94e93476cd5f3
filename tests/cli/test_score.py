"""`harness score mt-bench` on files, in every format."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from harness.cli.score import app
from harness.core.errors import HarnessError
from tests.worlds.mt_bench import World, made_up


def score(world: World, *words: str) -> Result:
    files = ["--questions", str(world.questions), "--judgments", str(world.judgments)]
    return CliRunner().invoke(app, ["mt-bench", *files, *words])


def overall(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {r["model"]: float(r["value"]) for r in rows if r["category"] == "overall"}


def known(world: World) -> dict[str, float]:
    return {model: whole for model, (whole, _, _) in world.averages.items()}


def test_json_is_alone_on_stdout(mt_bench_world: World) -> None:
    result = score(mt_bench_world, "--format", "json")
    assert result.exit_code == 0
    rows = json.loads(result.stdout)
    assert overall(rows) == known(mt_bench_world)
    needed = {"model", "benchmark", "metric", "category", "value", "stderr", "n", "total"}
    assert needed <= set(rows[0])
    assert {(r["benchmark"], r["metric"]) for r in rows} == {("mt_bench", "score")}
    assert all(r["n"] == r["total"] == 160 for r in rows if r["category"] == "overall")


def test_csv(mt_bench_world: World) -> None:
    result = score(mt_bench_world, "--format", "csv")
    assert result.exit_code == 0
    assert overall(list(csv.DictReader(io.StringIO(result.stdout)))) == known(mt_bench_world)


def test_table_is_not_cut(mt_bench_world: World) -> None:
    """Its error is that of the questions' sums: `sqrt(sum of (sum - turns x mean)^2) / turns`."""
    result = score(mt_bench_world)
    assert result.exit_code == 0
    verdicts = [json.loads(line) for line in mt_bench_world.judgments.read_text(encoding="utf-8").splitlines()]
    for model, mean in known(mt_bench_world).items():
        sums: dict[int, float] = {}
        for own in (v for v in verdicts if v["model"] == model):
            sums[own["question_id"]] = sums.get(own["question_id"], 0) + own["score"] - mean
        error = sum(s**2 for s in sums.values()) ** 0.5 / 160
        line = next(x for x in result.stdout.splitlines() if model in x and "overall" in x)
        said = [model, "gpt-4", "mt_bench", "score", "overall", f"{mean:.3f}", f"{error:.3f}", "160", "160"]
        assert line.split() == said


def test_several_judgment_files_after_one_option(mt_bench_world: World, tmp_path: Path) -> None:
    more, (first, *_) = tmp_path / "more.jsonl", mt_bench_world.averages
    source = mt_bench_world.judgments.read_text(encoding="utf-8")
    more.write_text(source.replace(f'"model": "{first}"', '"model": "third"'), encoding="utf-8")
    rows = json.loads(score(mt_bench_world, str(more), "--format", "json").stdout)
    assert overall(rows)["third"] == overall(rows)[first] == known(mt_bench_world)[first]


def test_an_unknown_format_is_an_error(tmp_path: Path) -> None:
    result = score(made_up(tmp_path), "--format", "xml")
    assert result.exit_code != 0
    assert isinstance(result.exception, HarnessError)
    assert result.stdout == ""


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none.jsonl"
    result = CliRunner().invoke(app, ["mt-bench", "--questions", str(missing), "--judgments", str(missing)])
    assert result.exit_code != 0
    assert isinstance(result.exception, HarnessError)
    assert str(missing) in str(result.exception)
