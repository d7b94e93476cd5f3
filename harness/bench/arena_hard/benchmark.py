"""Arena-Hard v0.1: 500 hard prompts, each answer judged against a baseline's in both orders.

Li et al., *From Crowdsourced Data to High-Quality Benchmarks: Arena-Hard and BenchBuilder Pipeline* (arXiv 2406.11939).
Prompt, labels and score are those of arena-hard-auto v0.1: two games per question, a significant win (`>>`) counts as
three battles, and the score is the win rate against the baseline that a Bradley-Terry model predicts.

A model meets nobody but the baseline, so that rate is its share of the battles (`stats.bradley_terry` says why); a
sample is a battle, and the score is the mean of samples. Errors are clustered by question, whose battles are not
independent; upstream resamples battles.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import pandas as pd
from pydantic import Field

from harness.bench.api import JudgedBenchmark, Metric, OpenJudged, Question, Sample
from harness.bench.arena_hard.files import VARIANTS, read_answers, read_questions, write_model
from harness.bench.arena_hard.prompts import NAME, messages
from harness.bench.arena_hard.scores import METRIC, battle_samples, win_rates
from harness.core.errors import HarnessError
from harness.core.settings import Settings, execution
from harness.generate.api import Answer
from harness.judge.api import JudgeTask, Verdict


class ArenaHardSettings(Settings):
    """Which Arena-Hard files, and how much of them."""

    data: Path = execution()
    """Folder with question.jsonl and the baseline's answers (model_answer/NAME.jsonl or NAME.model_answer.jsonl,
    `.xz` too); their content is what counts."""
    baseline: str = "gpt-4-0314"
    """Whose answers the model's are compared with."""
    questions: int | None = Field(None, ge=1)
    """Only the first so many questions."""
    max_new_tokens: int = Field(4096, ge=1)


class ArenaHard(OpenJudged[ArenaHardSettings]):
    """Two games per question against the baseline."""

    metrics = (Metric(METRIC, "%", "higher", "general"),)

    @cached_property
    def questions(self) -> list[Question]:
        """The questions in file order, each with the baseline's answer.

        Raises:
            HarnessError: a broken or duplicate line, a question that the baseline has not answered.
        """
        settings = self.settings
        answers = read_answers(self.files["baseline"])
        lines = read_questions(self.files["questions"])[: settings.questions]
        for line in lines:
            if answers.get(line.id) is None:
                raise HarnessError(
                    f"{settings.baseline} has no answer to question {line.id} ({line.where})",
                    where=str(self.files["baseline"]),
                    fix="Complete the baseline's answers, or choose another `baseline`.",
                )
        return [
            Question(
                id=line.id,
                category=line.category,
                turns=(line.prompt,),
                temperature=0.0,
                max_new_tokens=settings.max_new_tokens,
                extra={"baseline": settings.baseline, "baseline_answer": answers[line.id]},
            )
            for line in lines
        ]

    def tasks(self, answers: Sequence[Answer]) -> list[JudgeTask]:
        """Two games per answered question, the baseline's answer first (`ba`) and the model's first (`ab`)."""
        given = {a.id: a.turns[0] for a in answers if a.turns}
        return [
            _task(question, text, variant)
            for question in self.questions
            if (text := given.get(question.id)) is not None
            for variant in VARIANTS
        ]

    def samples(self, answers: Sequence[Answer], verdicts: Sequence[Verdict]) -> list[Sample]:
        """One row per battle, in % for the model: three for a significant win, one for any other game.

        A game without a value is one row without a value. The battles of game g (0 `ba`, 1 `ab`) of a verdict's repeat
        r are repeats 6 r + 3 g and following.
        """
        return battle_samples(self.questions, answers, verdicts)

    def aggregate(self, samples: pd.DataFrame) -> pd.DataFrame:
        """The win rate against the baseline overall and, where there are several, by category; n and total are games.

        The standard error is clustered by question.
        """
        return win_rates(samples)

    def export(
        self, folder: Path, model: str, judge: str, answers: Sequence[Answer], verdicts: Sequence[Verdict]
    ) -> None:
        """Write model_answer/MODEL.jsonl and model_judgment/JUDGE/MODEL.jsonl as arena-hard-auto v0.1 reads them."""
        write_model(folder, model, judge, answers, verdicts)


def _input_files(settings: ArenaHardSettings) -> dict[str, Path]:
    """Questions and the baseline's answers."""
    names = (f"model_answer/{settings.baseline}.jsonl", f"{settings.baseline}.model_answer.jsonl")
    places = [settings.data / f"{name}{end}" for name in names for end in ("", ".xz")]
    baseline = next((place for place in places if place.exists()), places[0])
    return {"questions": settings.data / "question.jsonl", "baseline": baseline}


BENCHMARK = JudgedBenchmark("arena_hard", 1, ArenaHardSettings, _input_files, ArenaHard, lambda _: "arena")


def _task(question: Question, text: str, variant: str) -> JudgeTask:
    baseline = question.extra["baseline_answer"]
    shown = (text, baseline) if variant == "ab" else (baseline, text)
    evidence = {
        "category": question.category,
        "question": question.turns[0],
        "answer": text,
        "baseline": question.extra["baseline"],
        "baseline_answer": baseline,
    }
    shown_to_judge = messages(question.turns[0], *shown)
    return JudgeTask(question.id, 1, NAME, shown_to_judge, evidence, variant=variant)
