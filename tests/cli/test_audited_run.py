"""`harness run` with a judge whose scores another audits: what is asked of whom, what is scored, shown and compared."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aiohttp import web

from harness.api.recipes import load_recipe
from harness.bench.labels import read_labels
from harness.core.errors import HarnessError
from harness.generate.api import Answer
from harness.plan.build import build
from harness.plan.estimate import estimate
from harness.record.labels import read_label_lines, write_label_lines
from harness.record.run import AuditRecord, read_run
from harness.store.store import Store
from tests.cli import judged
from tests.cli.command import executed, harness
from tests.judge.stand_in import CANARY, Judge, reply

QUESTIONS, DRAWN = 30, 12
RECIPE = """\
name: audited
student: $student
axes:
  student:
  - one: "pocket:llama?layers=1&width=16&heads=2&seed=1"
  - two: "pocket:llama?layers=1&width=16&heads=2&seed=2"
evaluate: [{{mt_bench: {{data: {data}, max_new_tokens: 4}}}}]
judge: {{model: cheap, {asked}, audit: {audit}}}
"""
ASKED = "base_url: {url}, api_key_env: TEST_JUDGE_KEY, concurrency: 1, retries: 0"


def number(body: dict[str, Any]) -> int:
    """Which question a judge is asked about."""
    match = re.search(r"Question (\d+)", body["messages"][-1]["content"])
    assert match is not None
    return int(match[1])


def answer(body: dict[str, Any], _n: int) -> web.Response:
    """Ratings from 2 to 6 by the question; the cheap judge gives 3 points more, and a point more for odd questions."""
    question = number(body)
    kinder = 3 + question % 2 if body["model"] == "cheap" else 0
    return reply(f"Rating: [[{2 + question % 5 + kinder}]]")


def write(folder: Path, url: str, audit: str) -> Path:
    """The recipe, and its benchmark where it is not there yet."""
    data = folder / "mt_bench"
    if not data.exists():
        judged.write_benchmark(data)
        rows = [
            {"question_id": k, "category": ("stem", "writing")[k > 20], "turns": [f"Question {k}."]}
            for k in range(QUESTIONS)
        ]
        (data / "question.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = folder / "audited.yaml"
    recipe.write_text(RECIPE.format(data=data, asked=ASKED.format(url=url), audit=audit))
    return recipe


def run(folder: Path, stand_in: Judge, audit: str) -> tuple[Path, int]:
    """Run it: the run's folder, and the stages that it executed."""
    recipe = write(folder, stand_in.url, audit)
    done = harness("run", recipe, "--results", folder / "results", env={judged.KEY: CANARY})
    assert done.returncode == 0, done.stderr
    return folder / "results/runs/audited", executed(done)


def the_audits(folder: Path) -> tuple[AuditRecord, ...]:
    """What the run's record says of its audits."""
    return read_run(folder / "run.json").audits


def test_a_run_is_audited_by_a_reference_judge(tmp_path: Path) -> None:
    """The live judge rates all, the reference 12 of 30 for both cells; scores and the report are the reference's."""
    with judged.judge(tmp_path / "unused.sqlite") as stand_in:
        stand_in.answer = answer
        reference = "{judge: {model: dear, " + ASKED.format(url=stand_in.url) + "}, n: " + str(DRAWN) + "}"
        folder, _ = run(tmp_path, stand_in, reference)
        asked = {name: [number(b) for b in stand_in.asked if b["model"] == name] for name in ("cheap", "dear")}
        assert set(asked["cheap"]) == set(range(QUESTIONS))
        assert len(set(asked["dear"])) == DRAWN
        larger, more = run(tmp_path, stand_in, reference.replace(f"n: {DRAWN}", "n: 18"))
        again = [number(b) for b in stand_in.asked if b["model"] == "dear"]
        assert set(asked["dear"]) < set(again), "a larger audit holds the smaller one, whose replies are kept"
        assert len(again) == 18 * len(asked["dear"]) // DRAWN
        assert more == 4, "the audit and the scores of two cells"
    scores = pd.read_parquet(folder / "scores.parquet")
    overall = scores[scores["category"] == "overall"].to_dict("records")
    truth = sum(2 + k % 5 for k in range(QUESTIONS)) / QUESTIONS
    for made in the_audits(larger):
        assert made.live == pytest.approx(truth + 3.5)
        assert made.low is not None
        assert made.high is not None
        assert made.low < truth < made.high
        assert (made.audited, made.questions, made.judge, made.reference) == (18, QUESTIONS, "cheap", "dear")
    assert {row["metric"] for row in overall} == {"score", "score_audited", "score_reference"}
    for row in overall:
        assert row["n"] == row["total"] == (18 if row["metric"] == "score_reference" else QUESTIONS)
    done = harness("compare", larger, "--baseline", "student=one", "--format", "json")
    (row,) = json.loads(done.stdout)
    assert row["metric"] == "MT-Bench, audited"
    assert row["difference"] == pytest.approx(0), "the reference says the same of both, whatever the live judge says"
    page = (larger / "report.md").read_text()
    assert "the audit changed it by" in page
    assert "18 of 30" in page
    assert "(cheap) is not calibrated" not in page, "an audited score is the reference's, whatever the judge is worth"
    assert "MT-Bench score by category" in page, "which is the live judge's"


def test_a_run_is_audited_by_people(tmp_path: Path) -> None:
    """`harness judge label` draws answers of a run; labels of the first half make an audit, which asks no judge."""
    with judged.judge(tmp_path / "unused.sqlite") as stand_in:
        stand_in.answer = answer
        folder, _ = run(tmp_path, stand_in, "null")
        labels = tmp_path / "labels.jsonl"
        words = ("judge", "label", folder, "--out", labels, "--no-page", "--n")
        assert harness(*words, "15").returncode == 0
        lines = read_label_lines(labels)
        assert len({line.item for line in lines}) == 15
        assert {line.value for line in lines} == {None}
        assert all(line.question == f"Question {line.item}." and line.scale == "points" for line in lines)
        write_label_lines(labels, [replace(line, value=2 + int(line.item) % 5) for line in lines])
        done = harness(*words, "20")
        assert "labelled" in done.stderr
        assert sum(line.value is not None for line in read_label_lines(labels)) == len(lines)
        calls = len(stand_in.asked)
        folder, stages = run(tmp_path, stand_in, f"{{human: {labels}}}")
        assert (len(stand_in.asked), stages) == (calls, 2), "only the scores are new"
    drawn = {int(line.item) for line in lines}
    for made in the_audits(folder):
        assert (made.audited, made.reference, made.price_usd) == (15, "labels.jsonl", None)
        assert made.reference_value == pytest.approx(2 + sum(k % 5 for k in drawn) / 15)


def test_what_an_audit_falls_short_of_is_said(tmp_path: Path) -> None:
    """The reference gives no verdict on some questions, which are not audited, and then on too many."""
    with judged.judge(tmp_path / "unused.sqlite") as stand_in:
        silent = 2

        def some(body: dict[str, Any], n: int) -> web.Response:
            return reply("Hm.") if body["model"] == "dear" and number(body) % 6 < silent else answer(body, n)

        stand_in.answer = some
        reference = "{judge: {model: dear, " + ASKED.format(url=stand_in.url) + "}, share: 1}"
        folder, _ = run(tmp_path, stand_in, reference)
        assert {made.audited for made in the_audits(folder)} == {20}
        said = read_run(folder / "run.json").warnings
        failed = "10 verdicts of the reference dear on student=one failed; the questions that they are on (10)"
        assert any(failed in line for line in said)
        silent = 5
        folder, _ = run(tmp_path, stand_in, reference.replace("dear,", "dear, epoch: 1,"))
        assert the_audits(folder) == ()
        said = read_run(folder / "run.json").warnings
        assert any("score of student=one has no audited score, which needs 10 questions that the" in s for s in said)


def test_labels_are_of_answers_that_a_model_judged(tmp_path: Path) -> None:
    """Of another benchmark there are none."""
    with judged.judge(tmp_path / "unused.sqlite") as stand_in:
        stand_in.answer = answer
        folder, _ = run(tmp_path, stand_in, "null")
    done = harness("judge", "label", folder, "--benchmark", "pocket", "--out", tmp_path / "l.jsonl", "--no-page")
    assert done.returncode != 0
    assert "has no answers to pocket that a model judged" in done.stderr
    (tmp_path / "l.jsonl").write_text("{}\n")
    done = harness("judge", "label", folder, "--out", tmp_path / "l.jsonl", "--no-page")
    assert "l.jsonl: is no file of labels" in done.stderr


def test_an_audit_does_not_change_what_the_live_judge_is_asked(tmp_path: Path) -> None:
    """The stages of answers and verdicts are those of the recipe without an audit; those of the scores are not."""
    plain, audited = (
        build(load_recipe(write(tmp_path, "http://127.0.0.1:9/v1", audit), [], []))
        for audit in ("null", "{judge: {model: dear}, share: 0.5}")
    )
    for (_, one, without), (_, other, with_audit) in zip(plain.judged, audited.judged, strict=True):
        assert (without.verdicts.id, without.audit) == (with_audit.verdicts.id, None)
        assert with_audit.audit is not None
        assert with_audit.audit.id != with_audit.verdicts.id
        assert one.score.id != other.score.id
    asked = {row.asked.settings.model: row.verdicts for row in estimate(audited, Store(tmp_path / "store"))}
    assert asked == {"cheap": 2 * QUESTIONS, "dear": QUESTIONS}


@pytest.mark.parametrize(
    ("audit", "words"),
    [
        ("{share: 0.2}", "an 'audit' needs one of 'judge', 'recorded' and 'human'"),
        ("{judge: {model: dear}, human: labels.jsonl}", "an 'audit' needs one of 'judge', 'recorded' and 'human'"),
        ("{judge: {model: dear}, share: 0.2, n: 20}", "'share' and 'n' say the same: give one of them"),
        ("{human: labels.jsonl, n: 20}", "'n' is for a 'judge': of the file of 'human' all verdicts count"),
        ("{judge: {model: dear}, n: 9}", "audit.n"),
        ("{judge: {model: dear}, share: 1.5}", "audit.share"),
        ("{judge: {model: dear, audit: {judge: {model: dearer}}}}", "audit.judge.audit"),
        ("{judge: {model: dear, serve: {}}}", "judge.audit.judge.model: 'dear' is not a model reference"),
        ("{human: labels.jsonl}", "labels.jsonl: no such file"),
    ],
)
def test_an_audit_that_makes_no_sense_is_refused(audit: str, words: str, tmp_path: Path) -> None:
    """Before anything runs, in a line that names the key or the file."""
    done = harness("run", write(tmp_path, "http://127.0.0.1:9/v1", audit), "--results", tmp_path / "results")
    assert done.returncode != 0
    assert words in done.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "labels.jsonl:2: broken JSON line"),
        ("[]", "labels.jsonl:2: is no label: it has no sound `benchmark`"),
        ('{"benchmark": "b", "item": 7, "turn": 1, "answer": "x", "value": 1}', "it has no sound `item`"),
        ('{"benchmark": "b", "item": "7", "turn": 1, "answer": "x"}', "it has no sound `value`"),
        ('{"benchmark": "b", "item": "7", "turn": true, "answer": "x", "value": 1}', "it has no sound `turn`"),
        ('{"benchmark": "b", "item": "7", "turn": 1, "answer": "x", "value": "9"}', "it has no sound `value`"),
        ('{"benchmark": "b", "item": "7", "turn": 1, "answer": "x", "value": NaN}', "`value` must be a number"),
    ],
)
def test_a_broken_label_is_named(line: str, words: str, tmp_path: Path) -> None:
    """By file and line."""
    good = {"benchmark": "b", "item": "7", "turn": 1, "answer": "x", "value": 1}
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps(good) + "\n" + line + "\n")
    with pytest.raises(HarnessError) as error:
        read_labels(path, "b", [Answer("7", ("x",))])
    assert words in str(error.value)


def test_alpaca_evals_annotations_are_labels(tmp_path: Path) -> None:
    """Of the answers that they hold, in percent; two on one answer are averaged, and a failed one is none."""
    row = {"index": 7, "generator_2": "m", "annotator": "j", "output_1": "b", "output_2": "x", "preference": 2}
    others: list[dict[str, object]] = [{"preference": 1.5}, {"output_2": "y"}, {"index": 8, "preference": None}]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps([row | other for other in [{}, *others]]))
    given = [Answer("7", ("x",)), Answer("8", ("x",))]
    assert read_labels(path, "alpaca_eval", given) == {("7", 1): 75.0}
    assert read_labels(path, "mt_bench", given) == {}
    path.write_text(json.dumps([{k: v for k, v in row.items() if k != "output_2"}]))
    with pytest.raises(HarnessError, match="row 1: has no `output_2`"):
        read_labels(path, "alpaca_eval", given)


def test_labels_belong_to_a_text(tmp_path: Path) -> None:
    """Two people's labels of a text are averaged; those of another text, turn or benchmark are left out."""
    good: dict[str, object] = {"benchmark": "b", "item": "7", "turn": 1, "answer": "x", "value": 1}
    others: list[dict[str, object]] = [
        {"value": 4},
        {"value": None},
        {"answer": "y"},
        {"turn": 2},
        {"benchmark": "c"},
        {"item": "8"},
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(good | other) + "\n" for other in [{}, *others]))
    assert read_labels(path, "b", [Answer("7", ("x", None))]) == {("7", 1): 2.5}
