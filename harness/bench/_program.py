"""Benchmarks whose answers a program checks: all that is theirs are the questions and the check."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.bench._mt_bench_files import write_model
from harness.bench._turns import turn_samples, turn_scores
from harness.bench.api import Answer, Metric, Question, Sample
from harness.core.settings import Settings
from harness.judge.api import JudgeTask, Program, Verdict


@dataclass(eq=False)
class ProgramBenchmark:
    """A `GenerativeBenchmark`.

    A question's `extra` has per-turn lists: `references` (right answers) and, where the check needs more than them,
    `facts`. The program gets the turn's {question, answer, reference, facts} as evidence.
    """

    name: str
    version: int
    settings: type[Settings]
    metrics: tuple[Metric, ...]
    make_questions: Callable[[Any], list[Question]]
    """The settings -> the conversations, in a fixed order."""
    program: Program | None
    """The check: evidence -> (value, explanation). Raises ValueError for evidence that it cannot judge."""
    metric_of: Callable[[Question], str] | None = None
    """Which metric a question counts for; by default the first."""

    def form(self, settings: Settings) -> str:
        """A rating, should a model ever judge."""
        return "rating"

    def files(self, settings: Settings) -> dict[str, Path]:
        """None: the questions are made by the program."""
        return {}

    def questions(self, settings: Settings, files: Mapping[str, Path]) -> list[Question]:
        """What the program makes."""
        return self.make_questions(settings)

    def tasks(
        self,
        settings: Settings,
        files: Mapping[str, Path],
        questions: Sequence[Question],
        answers: Sequence[Answer],
    ) -> list[JudgeTask]:
        """One task per answered turn, with {question, answer, reference, facts} as evidence."""
        given = {answer.id: answer.turns for answer in answers}
        return [
            _task(question, number, text)
            for question in questions
            for number, text in enumerate(given.get(question.id, ()))
            if text is not None
        ]

    def samples(
        self,
        settings: Settings,
        files: Mapping[str, Path],
        questions: Sequence[Question],
        answers: Sequence[Answer],
        verdicts: Sequence[Verdict],
    ) -> list[Sample]:
        """One row per question and turn; a turn without a verdict is `missing`, and has no value."""
        return turn_samples(self.name, questions, answers, verdicts, self.metric_of or self._first)

    def aggregate(self, samples: pd.DataFrame, files: Mapping[str, Path] | None = None) -> pd.DataFrame:
        """Each metric overall, by turn and by category: the mean over scored turns, clustered by question."""
        return turn_scores(samples)

    def export(
        self,
        folder: Path,
        model: str,
        judge: str,
        answers: Sequence[Answer],
        tasks: Sequence[JudgeTask],
        verdicts: Sequence[Verdict],
        questions: Sequence[Question] = (),
    ) -> None:
        """Write model_answer/MODEL.jsonl and model_judgment/JUDGE_single.jsonl in FastChat's format."""
        write_model(folder, model, judge, answers, tasks, verdicts)

    def _first(self, question: Question) -> str:
        return self.metrics[0].name


def _task(question: Question, number: int, text: str) -> JudgeTask:
    evidence = {"question": question.turns[number], "answer": text}
    for of_turn, of_question in (("facts", "facts"), ("reference", "references")):
        if of_question in question.extra:
            evidence[of_turn] = question.extra[of_question][number]
    messages = ({"role": "user", "content": question.turns[number]},)
    return JudgeTask(question.id, number + 1, "program", messages, evidence)
