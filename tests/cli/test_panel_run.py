"""`harness run` with a panel of judges: what each is asked, what is scored, shown and kept."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aiohttp import web

from harness.api.recipes import load_recipe
from harness.core.errors import HarnessError
from harness.plan.build import build
from harness.record.run import RunRecord, read_run
from harness.stages import judge as judge_stage
from tests.cli import judged
from tests.cli.command import executed, harness
from tests.judge.batch_stand_in import BatchJudge, standing_in
from tests.judge.stand_in import CANARY, Judge, reply

QUESTIONS = 20
RECIPE = """\
name: panel
student: $student
axes:
  student:
  - one: "pocket:llama?layers=1&width=16&heads=2&seed=1"
  - two: "pocket:llama?layers=1&width=16&heads=2&seed=2"
evaluate: [{{mt_bench: {{data: {data}, max_new_tokens: 4}}}}]
judge: {judge}
"""
ASKED = "base_url: {url}, api_key_env: TEST_JUDGE_KEY, concurrency: 1, retries: 0"
ALONE = "{{model: MODEL, " + ASKED + "}}"
PANEL = "{{panel: [" + ALONE.replace("MODEL", "kind") + ", " + ALONE.replace("MODEL", "strict") + "]}}"


def number(body: dict[str, Any]) -> int:
    """Which question a judge is asked about."""
    match = re.search(r"Question (\d+)", body["messages"][-1]["content"])
    assert match is not None
    return int(match[1])


def rating(model: str, question: int) -> int:
    """Ratings from 2 to 6 by the question; the kind judge gives 2 points more, and 3 for every fourth question."""
    return 2 + question % 5 + (2 + (question % 4 == 0) if model == "kind" else 0)


def answer(body: dict[str, Any], _n: int) -> web.Response:
    """What both judges say."""
    return reply(f"Rating: [[{rating(body['model'], number(body))}]]")


def mean(model: str) -> float:
    """A judge's score of every student."""
    return sum(rating(model, k) for k in range(QUESTIONS)) / QUESTIONS


def write(folder: Path, url: str, judge: str) -> Path:
    """The recipe, and its benchmark where it is not there yet."""
    data = folder / "mt_bench"
    if not data.exists():
        judged.write_benchmark(data)
        rows = [
            {"question_id": k, "category": ("stem", "writing")[k % 2], "turns": [f"Question {k}."]}
            for k in range(QUESTIONS)
        ]
        (data / "question.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = folder / "panel.yaml"
    recipe.write_text(RECIPE.format(data=data, judge=judge.format(url=url)))
    return recipe


def run(folder: Path, url: str, judge: str) -> tuple[Path, int]:
    """Run it: the run's folder, and the stages that it executed."""
    done = harness("run", write(folder, url, judge), "--results", folder / "results", env={judged.KEY: CANARY})
    assert done.returncode == 0, done.stderr
    return folder / "results/runs/panel", executed(done)


def overall(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The overall scores by cell and metric."""
    scores = pd.read_parquet(folder / "scores.parquet")
    rows = scores[scores["category"] == "overall"].to_dict("records")
    return {(row["student"], row["metric"]): {str(key): value for key, value in row.items()} for row in rows}


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[Judge]:
    """Both judges, at one endpoint."""
    with judged.judge(tmp_path / "unused.sqlite") as judge:
        judge.answer = answer
        yield judge


def test_a_panel_scores_by_its_mean(tmp_path: Path, stand_in: Judge) -> None:
    """A judge that was asked alone before is not asked again; the report has each judge's score, alpha and ranks."""
    run(tmp_path, stand_in.url, ALONE.replace("MODEL", "kind"))
    asked = len(stand_in.asked)
    folder, stages = run(tmp_path, stand_in.url, PANEL)
    assert {body["model"] for body in stand_in.asked[asked:]} == {"strict"}
    assert stages == 4, "the strict judge's verdicts and the scores of two cells"
    scores = overall(folder)
    for cell in ("one", "two"):
        assert scores[cell, "score_by_kind"]["value"] == pytest.approx(mean("kind"))
        assert scores[cell, "score_by_strict"]["value"] == pytest.approx(mean("strict"))
        panel = scores[cell, "score"]
        assert panel["value"] == pytest.approx((mean("kind") + mean("strict")) / 2)
        assert (panel["n"], panel["total"], panel["judge"]) == (2 * QUESTIONS, 2 * QUESTIONS, "kind + strict")
    record = read_run(folder / "run.json")
    assert [(j.judge, j.panel) for j in record.judges] == [("kind", "kind + strict"), ("strict", "kind + strict")]
    assert [m.metric for m in record.metrics if m.headline] == ["score"]
    report = (folder / "report.md").read_text()
    for words in (
        "Panel of judges, MT-Bench score",
        "Krippendorff's alpha",
        "rank without kind",
        "MT-Bench by category",
    ):
        assert words in report
    assert "several judges" not in report, "these are one panel"
    assert {p.name for p in (folder / "mt_bench/model_judgment").iterdir()} == {
        "kind_single.jsonl",
        "strict_single.jsonl",
    }


def test_an_answer_that_one_judge_gave_no_verdict_on_has_no_panel_value(tmp_path: Path, stand_in: Judge) -> None:
    """The panel's mean is over the others, and its coverage says so; the other judge's own score is whole."""

    def silent(body: dict[str, Any], n: int) -> web.Response:
        failed = body["model"] == "strict" and number(body) == 3
        return reply("I cannot say.") if failed else answer(body, n)

    stand_in.answer = silent
    folder, _ = run(tmp_path, stand_in.url, PANEL)
    scores = overall(folder)
    rest = [k for k in range(QUESTIONS) if k != 3]
    both = sum(rating(model, k) for model in ("kind", "strict") for k in rest) / (2 * len(rest))
    assert scores["one", "score"]["value"] == pytest.approx(both)
    assert [scores["one", "score"][key] for key in ("n", "total")] == [2 * QUESTIONS - 2, 2 * QUESTIONS]
    assert scores["one", "score_by_kind"]["n"] == QUESTIONS
    assert scores["one", "score_by_kind"]["value"] == pytest.approx(mean("kind"))
    samples = pd.read_parquet(folder / "samples.parquet")
    without = samples[(samples["metric"] == "score") & (samples["item"] == "3")]
    assert set(without["status"]) == {"unparseable"}
    report = (folder / "report.md").read_text()
    assert "not every sample was scored" in report
    assert "mt_bench, strict: 2 of 40 verdicts failed" in report
    assert f"on {2 * QUESTIONS - 2} of {2 * QUESTIONS} answers" in report, "a failed verdict is missing for alpha"


def test_a_panel_is_audited(tmp_path: Path, stand_in: Judge) -> None:
    """The reference's verdicts correct the panel's mean as they would a judge's."""
    reference = ALONE.replace("MODEL", "dear")
    folder, _ = run(tmp_path, stand_in.url, PANEL[:-2] + ", audit: {{judge: " + reference + ", n: 12}}}}")
    assert Counter(body["model"] for body in stand_in.asked)["dear"] == 2 * 12
    record: RunRecord = read_run(folder / "run.json")
    assert len(record.audits) == 2
    for made in record.audits:
        assert (made.metric, made.judge, made.reference, made.audited) == ("score", "kind + strict", "dear", 12)
        assert made.live == pytest.approx((mean("kind") + mean("strict")) / 2)
        assert made.low is not None
        assert made.high is not None
        assert made.low < mean("dear") < made.high
    assert {(m.metric, m.headline) for m in record.metrics} >= {("score", False), ("score_audited", True)}


def test_a_panel_in_batches(tmp_path: Path) -> None:
    """Each judge of a panel may ask through the Batch API; here both do."""
    batches = BatchJudge(answer=lambda line: answer(line["body"], 0))
    with judged.in_thread(standing_in(batches)) as endpoint:
        asked = PANEL.replace("retries: 0", "retries: 0, batch: true")
        folder, _ = run(tmp_path, endpoint.url, asked)
    assert overall(folder)["two", "score"]["value"] == pytest.approx((mean("kind") + mean("strict")) / 2)
    models = {line["body"]["model"] for batch in batches.batches.values() for line in batches.lines(batch)}
    assert models == {"kind", "strict"}


def test_a_judge_is_the_same_stage_alone_and_in_a_panel(tmp_path: Path) -> None:
    """So that its verdicts are shared, and a recipe's single judge keeps its ids."""
    alone = build(load_recipe(write(tmp_path, "http://127.0.0.1:9/v1", ALONE.replace("MODEL", "kind"))))
    panel = build(load_recipe(write(tmp_path, "http://127.0.0.1:9/v1", PANEL)))
    (_, _, first), *_ = alone.judged
    (_, _, second), (_, _, third), *_ = panel.judged
    assert first.verdicts.id == second.verdicts.id
    assert third.verdicts.kind == judge_stage.KIND.name
    assert third.verdicts.id != second.verdicts.id


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ("{{}}", "a 'judge' needs a 'model', or a 'panel' of judges"),
        ("{{panel: [{{model: a}}]}}", "a 'panel' has two or more judges"),
        ("{{panel: [{{model: a}}, {{model: a, temperature: 1}}]}}", "told apart by the names of their models"),
        ("{{model: a, panel: [{{model: b}}, {{model: c}}]}}", "'model' stands beside 'panel'"),
        ("{{temperature: 1, panel: [{{model: b}}, {{model: c}}]}}", "'temperature' stands beside 'panel'"),
        ("{{panel: [{{model: b}}, {{model: c, panel: []}}]}}", "judge.panel[1].panel: unknown key"),
        ("{{panel: [{{model: b}}, {{model: c, serve: {{}}}}]}}", "judge.panel[1].model: 'c' is not a model reference"),
    ],
)
def test_a_wrong_panel_is_said(tmp_path: Path, judge: str, message: str) -> None:
    """With the key."""
    with pytest.raises(HarnessError) as error:
        load_recipe(write(tmp_path, "", judge))
    assert message in str(error.value)
