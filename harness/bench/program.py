"""Benchmarks whose answers a program checks: all that is theirs are the questions and the check."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from harness.bench.api import JudgedBenchmark, Metric, OpenJudged, Question, S, Sample
from harness.bench.mt_bench.files import write_model
from harness.bench.turns import turn_samples, turn_scores
from harness.generate.api import Answer
from harness.judge.api import JudgeTask, Program, Verdict


def program_benchmark(
    name: str,
    version: int,
    settings: type[S],
    metrics: tuple[Metric, ...],
    questions: Callable[[S], list[Question]],
    check: Program,
    metric_of: Callable[[Question], str] | None = None,
) -> JudgedBenchmark[S]:
    """A benchmark from its questions and its check.

    `questions` makes the conversations from the settings, in a fixed order. A question's `extra` has per-turn lists:
    `references` (right answers) and, where the check needs more than them, `facts`. `check` gets the turn's {question,
    answer, reference, facts} and returns (value, explanation); it raises ValueError for evidence that it cannot judge.
    `metric_of` says which metric a question counts for; by default it is the first.
    """

    def open_(settings: S, files: Mapping[str, Path]) -> OpenJudged[S]:
        return _OpenProgram(settings, files, name, metrics, questions, metric_of or (lambda _: metrics[0].name))

    return JudgedBenchmark(name, version, settings, lambda _: {}, open_, lambda _: "rating", check)


@dataclass(frozen=True)
class _OpenProgram(OpenJudged[S]):
    name: str
    reported: tuple[Metric, ...]
    make_questions: Callable[[S], list[Question]]
    metric_of: Callable[[Question], str]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The same with any settings."""
        return self.reported

    @cached_property
    def questions(self) -> list[Question]:
        """The questions that the benchmark makes from its settings."""
        return self.make_questions(self.settings)

    def tasks(self, answers: Sequence[Answer]) -> list[JudgeTask]:
        """One task per answered turn, with {question, answer, reference, facts} as evidence."""
        given = {answer.id: answer.turns for answer in answers}
        return [
            _task(question, number, text)
            for question in self.questions
            for number, text in enumerate(given.get(question.id, ()))
            if text is not None
        ]

    def samples(self, answers: Sequence[Answer], verdicts: Sequence[Verdict]) -> list[Sample]:
        """One row per question and turn; a turn without a verdict is `missing`, and has no value."""
        return turn_samples(self.name, self.questions, answers, verdicts, self.metric_of)

    def aggregate(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Each metric overall, by turn and by category: the mean over scored turns, clustered by question."""
        return turn_scores(samples)

    def export(
        self, folder: Path, model: str, judge: str, answers: Sequence[Answer], verdicts: Sequence[Verdict]
    ) -> None:
        """Write model_answer/MODEL.jsonl and model_judgment/JUDGE_single.jsonl in FastChat's format."""
        write_model(folder, model, judge, answers, verdicts)


def _task(question: Question, number: int, text: str) -> JudgeTask:
    evidence = {"question": question.turns[number], "answer": text}
    for of_turn, of_question in (("facts", "facts"), ("reference", "references")):
        if of_question in question.extra:
            evidence[of_turn] = question.extra[of_question][number]
    messages = ({"role": "user", "content": question.turns[number]},)
    return JudgeTask(question.id, number + 1, "program", messages, evidence)
