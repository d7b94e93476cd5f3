"""Arena-Hard: hard prompts, each answer judged against a baseline's in both orders.

Li et al., *From Crowdsourced Data to High-Quality Benchmarks: Arena-Hard and BenchBuilder Pipeline* (arXiv 2406.11939).
Prompts, labels and scores are those of arena-hard-auto, v0.1 (500 prompts) and v2.0 (500 hard prompts and 250 of
creative writing; each category has a baseline and a score, creative writing a judge prompt of its own): two games per
question, a significant win (`>>`) counts as three battles, and the score is the win rate against the baseline that a
Bradley-Terry model predicts.

A model meets nobody but the baseline, so that rate is its share of the battles (`stats.bradley_terry` says why); a
sample is a battle, and the score is the mean of samples. Errors are clustered by question, whose battles are not
independent; upstream resamples battles. v2.0's style control is a fit over several models (`harness score arena-hard
--answers`), and no score of one.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import Field

from harness.bench.api import JudgedBenchmark, Metric, OpenJudged, Question, Sample
from harness.bench.arena_hard.files import VARIANTS, QuestionLine, read_answers, read_questions, write_model
from harness.bench.arena_hard.prompts import CREATIVE_CATEGORY, NAMES, messages
from harness.bench.arena_hard.scores import METRIC, battle_samples, category_metric, win_rates
from harness.core.errors import HarnessError
from harness.core.settings import Settings, execution, later
from harness.generate.api import Answer
from harness.judge.api import JudgeTask, Verdict


class ArenaHardSettings(Settings):
    """Which Arena-Hard files, and how much of them."""

    version: Literal["0.1", "2.0"] = later("0.1")
    """Which questions, baselines and reading of replies: 2.0 takes the last label of a reply."""
    data: Path = execution()
    """Folder with question.jsonl and the baselines' answers (model_answer/NAME.jsonl or NAME.model_answer.jsonl,
    `.xz` too); their content is what counts."""
    baseline: str = "gpt-4-0314"
    """0.1: whose answers the model's are compared with."""
    baselines: dict[str, str] = later(
        {"hard_prompt": "o3-mini-2025-01-31", CREATIVE_CATEGORY: "gemini-2.0-flash-001"}, min_length=1
    )
    """2.0: the categories to ask, and whose answers the model's are compared with in each. Each is a score."""
    questions: int | None = Field(None, ge=1)
    """Only the first so many questions."""
    max_new_tokens: int = Field(4096, ge=1)


class ArenaHard(OpenJudged[ArenaHardSettings]):
    """Two games per question against its baseline."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The win rate; in 2.0 that of each category, whose baselines are not the same."""
        names = [METRIC] if self.settings.version == "0.1" else map(category_metric, self.settings.baselines)
        return tuple(Metric(name, "%", "higher", "general") for name in names)

    @cached_property
    def questions(self) -> list[Question]:
        """The questions in file order, each with its baseline's answer.

        Raises:
            HarnessError: a broken or duplicate line, a question that the baseline has not answered, a category without
                questions.
        """
        baselines, lines = self.settings.baselines, read_questions(self.files["questions"])
        if self.settings.version == "0.1":
            baselines = dict.fromkeys((line.category for line in lines), self.settings.baseline)
        answers = {name: read_answers(self.files[_role(self.settings, name)]) for name in set(baselines.values())}
        known = {line.category for line in lines}
        if absent := [category for category in baselines if category not in known]:
            what = f"has no question of the category {', '.join(absent)}"
            fix = f"It has {', '.join(sorted(known))}: name these in `baselines`."
            raise HarnessError(what, where=str(self.files["questions"]), fix=fix)
        asked = [line for line in lines if line.category in baselines][: self.settings.questions]
        return [self._question(line, baselines[line.category], answers[baselines[line.category]]) for line in asked]

    def _question(self, line: QuestionLine, baseline: str, answers: Mapping[str, str | None]) -> Question:
        if answers.get(line.id) is None:
            raise HarnessError(
                f"{baseline} has no answer to question {line.id} ({line.where})",
                where=str(self.files[_role(self.settings, baseline)]),
                fix="Complete the baseline's answers, or choose another baseline.",
            )
        return Question(
            id=line.id,
            category=line.category,
            turns=(line.prompt,),
            temperature=0.0,
            max_new_tokens=self.settings.max_new_tokens,
            extra={"baseline": baseline, "baseline_answer": answers[line.id]},
        )

    def tasks(self, answers: Sequence[Answer]) -> list[JudgeTask]:
        """Two games per answered question, the baseline's answer first (`ba`) and the model's first (`ab`)."""
        given = {a.id: a.turns[0] for a in answers if a.turns}
        return [
            _task(question, text, variant, self.settings.version)
            for question in self.questions
            if (text := given.get(question.id)) is not None
            for variant in VARIANTS
        ]

    def samples(self, answers: Sequence[Answer], verdicts: Sequence[Verdict]) -> list[Sample]:
        """One row per battle, in % for the model: three for a significant win, one for any other game.

        A game without a value is one row without a value. The battles of game g (0 `ba`, 1 `ab`) of a verdict's repeat
        r are repeats 6 r + 3 g and following.
        """
        if self.settings.version == "0.1":
            return battle_samples(self.questions, answers, verdicts)
        return battle_samples(self.questions, answers, verdicts, lambda question: category_metric(question.category))

    def aggregate(self, samples: pd.DataFrame) -> pd.DataFrame:
        """The win rate against the baseline overall and, where there are several, by category; n and total are games.

        The standard error is clustered by question.
        """
        return win_rates(samples)

    def export(
        self, folder: Path, model: str, judge: str, answers: Sequence[Answer], verdicts: Sequence[Verdict]
    ) -> None:
        """Write model_answer/MODEL.jsonl and model_judgment/JUDGE/MODEL.jsonl as arena-hard-auto reads them.

        2.0's answers are without the counts of style, which need its own tokenizer: its add_markdown_info.py adds them.
        """
        questions = self.questions if self.settings.version == "2.0" else None
        write_model(folder, model, judge, answers, verdicts, questions)


def _input_files(settings: ArenaHardSettings) -> dict[str, Path]:
    """Questions and the baselines' answers."""
    names = [settings.baseline] if settings.version == "0.1" else settings.baselines.values()
    baselines = {_role(settings, name): _answers_of(settings.data, name) for name in names}
    return {"questions": settings.data / "question.jsonl", **baselines}


def _role(settings: ArenaHardSettings, baseline: str) -> str:
    """The role of a baseline's answers among the files."""
    return "baseline" if settings.version == "0.1" else f"baseline:{baseline}"


def _answers_of(data: Path, model: str) -> Path:
    names = (f"model_answer/{model}.jsonl", f"{model}.model_answer.jsonl")
    places = [data / f"{name}{end}" for name in names for end in ("", ".xz")]
    return next((place for place in places if place.exists()), places[0])


BENCHMARK = JudgedBenchmark(
    "arena_hard",
    1,
    ArenaHardSettings,
    _input_files,
    ArenaHard,
    lambda settings: "arena" if settings.version == "0.1" else "arena-v2",
)


def _task(question: Question, text: str, variant: str, version: str) -> JudgeTask:
    baseline = question.extra["baseline_answer"]
    first, second = (text, baseline) if variant == "ab" else (baseline, text)
    evidence = {
        "category": question.category,
        "question": question.turns[0],
        "answer": text,
        "baseline": question.extra["baseline"],
        "baseline_answer": baseline,
    }
    shown_to_judge = messages(question.turns[0], first, second, question.category if version == "2.0" else "")
    return JudgeTask(question.id, 1, NAMES[version], shown_to_judge, evidence, variant=variant)
