"""The pocket suite: balanced questions, a program that judges, failures that stay failures."""

from collections import Counter
from pathlib import Path
from typing import cast

import pandas as pd
import pytest

from harness.bench.api import Question, samples_frame
from harness.bench.pocket import BENCHMARK, PocketSettings, judge
from harness.bench.pocket_formats import multiple_choice
from harness.core.lines import read_lines
from harness.data.pocket import CATEGORIES, conversations, questions
from harness.data.settings import PocketData
from harness.generate.api import Answer
from harness.judge.api import Verdict
from harness.store.ledger import Reply

SETTINGS = PocketSettings(questions=40)
BENCH = BENCHMARK.open(SETTINGS, {})
QUESTIONS = BENCH.questions


def perfect(question: Question) -> Answer:
    return Answer(question.id, tuple(question.extra["references"]))


def verdicts(answers: list[Answer]) -> list[Verdict]:
    made = []
    for task in BENCH.tasks(answers):
        value, why = judge(task.evidence)
        made.append(Verdict(task, Reply("ok", value, why)))
    return made


def scores(answers: list[Answer]) -> pd.DataFrame:
    samples = samples_frame(BENCH.samples(answers, verdicts(answers)))
    return BENCH.aggregate(samples).set_index(["metric", "category"])


def score(frame: pd.DataFrame, metric: str, category: str, column: str = "value") -> float:
    return cast(float, frame.loc[(metric, category), column])


def test_questions_are_balanced_two_turn_greedy_and_stable() -> None:
    assert Counter(q.category for q in QUESTIONS) == dict.fromkeys(CATEGORIES, 5)
    assert len({q.id for q in QUESTIONS}) == 40
    assert all(len(q.turns) == 2 and q.temperature == 0 for q in QUESTIONS)
    assert BENCHMARK.open(SETTINGS, {}).questions == QUESTIONS
    assert BENCHMARK.open(PocketSettings(questions=40, seed=1), {}).questions != QUESTIONS
    assert BENCHMARK.files(SETTINGS) == {}


def test_answers_fit_the_token_limit() -> None:
    assert max(len(t.split()) for q in QUESTIONS for t in q.extra["references"]) < SETTINGS.max_new_tokens


def test_right_answers_score_100_everywhere() -> None:
    frame = scores([perfect(q) for q in QUESTIONS])
    assert (frame["value"] == 100).all()
    general = {"overall", "turn_1", "turn_2", "copy", "order", "count", "arithmetic", "compare"}
    assert set(frame.loc["general_score"].index) == general
    assert set(frame.loc["domain_score"].index) == {"overall", "turn_1", "turn_2", "extraction", "price", "category"}
    assert score(frame, "general_score", "overall", "total") == 50


def test_a_wrong_first_turn_costs_only_the_first_turn() -> None:
    frame = scores([Answer(q.id, ("nothing", perfect(q).turns[1])) for q in QUESTIONS])
    assert score(frame, "general_score", "turn_1") == 0
    assert score(frame, "general_score", "turn_2") == 100
    assert score(frame, "domain_score", "overall") == 50
    assert score(frame, "domain_score", "overall", "stderr") == pytest.approx(0), "turns of a question are one cluster"


def test_a_failed_answer_is_missing_never_zero() -> None:
    answers = [perfect(q) for q in QUESTIONS[1:]]
    answers[0] = Answer(answers[0].id, (None, None), ("error: x", "error: x"))
    samples = BENCH.samples(answers, verdicts(answers))
    assert len(samples) == 80
    assert Counter((s.status, s.value is None) for s in samples) == {("ok", False): 76, ("missing", True): 4}
    frame = scores(answers)
    assert score(frame, "general_score", "overall") == 100
    assert score(frame, "general_score", "overall", "n") == 46
    assert score(frame, "general_score", "overall", "total") == 50


def test_nothing_scored_is_null() -> None:
    frame = scores([])
    assert frame["value"].isna().all()
    assert (frame["n"] == 0).all()


def test_evidence_is_complete_and_foreign_evidence_is_refused() -> None:
    task = BENCH.tasks([perfect(QUESTIONS[0])])[1]
    assert set(task.evidence) == {"question", "answer", "facts", "reference"}
    assert task.turn == 2
    assert task.evidence["question"] == QUESTIONS[0].turns[1]
    for evidence in ({}, {"answer": "x"}, {"answer": "x", "facts": {"op": "fly"}}):
        with pytest.raises(ValueError, match="facts"):
            judge(evidence)


def test_multiple_choice_is_held_out() -> None:
    made = multiple_choice(80, 0)
    trained = {c["messages"][0]["content"] for c in conversations(PocketData(examples=1000, domain_ratio=0.4))}
    assert Counter(row["category"] for row in made) == dict.fromkeys(CATEGORIES, 10)
    assert not trained & {row["query"] for row in made}


def test_multiple_choice_has_one_right_answer_at_any_place() -> None:
    made = multiple_choice(80, 0)
    outputs = {item.turns[0].text: item.turns[0].answer for item in questions(80, 0)}
    assert all(len(set(row["choices"])) == 4 for row in made)
    assert all(row["choices"][row["gold"]] == outputs[row["query"]] for row in made)
    assert {row["gold"] for row in made} == {0, 1, 2, 3}
    assert multiple_choice(80, 0) == made


def test_export_is_fastchats_format(tmp_path: Path) -> None:
    answers = [perfect(q) for q in QUESTIONS]
    BENCH.export(tmp_path, "m", "program", answers, verdicts(answers))
    answered = list(read_lines(tmp_path / "model_answer" / "m.jsonl"))
    judged = list(read_lines(tmp_path / "model_judgment" / "program_single.jsonl"))
    assert answered[0]["choices"][0]["turns"] == list(answers[0].turns)
    assert len(judged) == 80
    assert {line["score"] for line in judged} == {100}
