"""Benchmarks that a program checks, whatever became of the answers."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.bench.api import Metric, Question, samples_frame
from harness.bench.program import program_benchmark
from harness.core.settings import Settings
from harness.generate.api import Answer
from harness.judge.program import run_program

QUESTIONS = [
    Question("q1", "one", ("a?", "b?"), 0.0, 4, {"references": ["a", "b"], "facts": [{"n": 1}, {"n": 2}]}),
    Question("q2", "two", ("c?",), 0.0, 4, {"references": ["c"]}),
]


def check(evidence: Mapping[str, Any]) -> tuple[float, str]:
    if evidence["answer"] == "?":
        raise ValueError("unclear")
    return float(evidence["answer"] == evidence["reference"]), "compared"


BENCH = program_benchmark(
    "quiz", 1, Settings, (Metric("right", "share", "higher", "general", binary=True),), lambda _: QUESTIONS, check
)
OPEN = BENCH.open(Settings(), {})
TEXTS = st.sampled_from(["a", "b", "c", "?", "", None])


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=1), st.lists(st.tuples(TEXTS), max_size=1))
def test_a_row_per_turn_and_only_judged_answers_have_a_value(
    first: list[tuple[str | None, ...]], second: list[tuple[str | None, ...]]
) -> None:
    answers = [Answer("q1", turns) for turns in first] + [Answer("q2", turns) for turns in second]
    said = {(a.id, k): text for a in answers for k, text in enumerate(a.turns, 1)}
    assert BENCH.program is not None
    verdicts = run_program(BENCH.program, OPEN.tasks(answers), model="program:quiz")
    samples = OPEN.samples(answers, verdicts)
    assert [(s.item, s.turn, s.metric) for s in samples] == [("q1", 1, "right"), ("q1", 2, "right"), ("q2", 1, "right")]
    right = {("q1", 1): "a", ("q1", 2): "b", ("q2", 1): "c"}
    for s in samples:
        text = said.get((s.item, s.turn))
        want = "missing" if text is None else "unparseable" if text == "?" else "ok"
        assert (s.status, s.length) == (want, len(text or ""))
        assert s.value == (float(text == right[s.item, s.turn]) if want == "ok" else None)
    overall = OPEN.aggregate(samples_frame(samples)).set_index("category").loc["overall"]
    values = [s.value for s in samples if s.value is not None]
    assert (overall["n"], overall["total"]) == (len(values), 3)
    if values:
        assert overall["value"] == pytest.approx(sum(values) / len(values))


def test_evidence_has_the_turns_own_part_of_what_there_is() -> None:
    given = [Answer("q1", (None, "b")), Answer("q2", ("x",))]
    tasks = OPEN.tasks(given)
    assert [(t.item, t.turn) for t in tasks] == [("q1", 2), ("q2", 1)]
    assert tasks[0].evidence == {"question": "b?", "answer": "b", "reference": "b", "facts": {"n": 2}}
    assert tasks[1].evidence == {"question": "c?", "answer": "x", "reference": "c"}
