"""MT-Bench: 80 two-turn questions in eight categories, each turn rated 1 to 10 by a judge.

Zheng et al., *Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena* (arXiv 2306.05685). Protocol, prompts and files
are FastChat's: temperature by category, reference-based prompts for math, reasoning and coding, the second turn judged
with the whole conversation, scores averaged over verdict rows.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import pandas as pd
from pydantic import Field

from harness.bench.api import JudgedBenchmark, Metric, OpenJudged, Question, Sample
from harness.bench.mt_bench.files import QuestionLine, read_answers, read_prompts, read_questions, write_model
from harness.bench.mt_bench.prompts import PLACEHOLDERS, judge_tasks
from harness.bench.turns import turn_samples, turn_scores
from harness.core.errors import HarnessError
from harness.core.settings import Settings, execution
from harness.generate.api import Answer
from harness.judge.api import JudgeTask, Verdict

TEMPERATURES = {
    "writing": 0.7,
    "roleplay": 0.7,
    "extraction": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "reasoning": 0.0,
    "stem": 0.1,
    "humanities": 0.1,
}
"""FastChat's `temperature_config`."""
OTHER_TEMPERATURE = 0.7
"""FastChat's temperature for any other category."""
REFERENCE_CATEGORIES = frozenset({"math", "reasoning", "coding"})
"""FastChat's `NEED_REF_CATS`: judged against a reference answer."""


GPT4 = "gpt-4"
"""FastChat's set of reference answers."""


class MTBenchSettings(Settings):
    """Which MT-Bench files, and how much of them."""

    data: Path = execution()
    """Folder with question.jsonl, judge_prompts.jsonl and reference_answer/*.jsonl; their content is what counts."""
    references: str = GPT4
    """Which set of reference answers: the name of a file in reference_answer/. Scores under another set than gpt-4's
    are another metric, such as `score_corrected`: sets are never compared."""
    categories: tuple[str, ...] = ()
    """Only these categories; all by default."""
    questions: int | None = Field(None, ge=1)
    """Only the first so many questions (of the chosen categories)."""
    max_new_tokens: int = Field(1024, ge=1)


def input_files(settings: MTBenchSettings) -> dict[str, Path]:
    """Questions, judge prompts and reference answers."""
    return {
        "questions": settings.data / "question.jsonl",
        "prompts": settings.data / "judge_prompts.jsonl",
        "references": settings.data / "reference_answer" / f"{settings.references}.jsonl",
    }


def chosen_questions(settings: MTBenchSettings, files: Mapping[str, Path]) -> list[Question]:
    """The chosen questions in file order, those of the reference categories with their references.

    Raises:
        HarnessError: a broken or duplicate line, an unknown category, a missing reference.
    """
    lines = _chosen(read_questions(files["questions"]), settings, files["questions"])
    references = {a.id: a.turns for a in read_answers(files["references"])}
    return [_question(line, settings, references, files["references"]) for line in lines]


def metric_name(name: str, settings: MTBenchSettings) -> str:
    """A metric under the chosen set of references: its name alone is that under GPT-4's."""
    return name if settings.references == GPT4 else re.sub(r"\W", "_", f"{name}_{settings.references}")


class MTBench(OpenJudged[MTBenchSettings]):
    """MT-Bench with single-answer grading."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The score, under the chosen references."""
        return (Metric(metric_name("score", self.settings), "points (1-10)", "higher", "general"),)

    @cached_property
    def questions(self) -> list[Question]:
        """See `chosen_questions`."""
        return chosen_questions(self.settings, self.files)

    def tasks(self, answers: Sequence[Answer]) -> list[JudgeTask]:
        """One task per answered turn; the second turn is judged when both turns have answers."""
        return judge_tasks(read_prompts(self.files["prompts"], PLACEHOLDERS), self.questions, answers)

    def samples(self, answers: Sequence[Answer], verdicts: Sequence[Verdict]) -> list[Sample]:
        """One row per (question, turn), or one per verdict where it was judged several times."""
        return turn_samples(BENCHMARK.name, self.questions, answers, verdicts, lambda _: self.metrics[0].name)

    def aggregate(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Overall, by turn and by category: the mean over rows that have a value, clustered by question."""
        return turn_scores(samples)

    def export(
        self, folder: Path, model: str, judge: str, answers: Sequence[Answer], verdicts: Sequence[Verdict]
    ) -> None:
        """Write model_answer/MODEL.jsonl and model_judgment/JUDGE_single.jsonl."""
        write_model(folder, model, judge, answers, verdicts)


BENCHMARK = JudgedBenchmark("mt_bench", 1, MTBenchSettings, input_files, MTBench, lambda _: "rating")


def _chosen(lines: list[QuestionLine], settings: MTBenchSettings, path: Path) -> list[QuestionLine]:
    there = list(dict.fromkeys(line.category for line in lines))
    if unknown := [c for c in settings.categories if c not in there]:
        raise HarnessError(f"has no category {', '.join(unknown)}", where=str(path), fix=f"It has {', '.join(there)}.")
    return [q for q in lines if not settings.categories or q.category in settings.categories][: settings.questions]


def _question(
    line: QuestionLine,
    settings: MTBenchSettings,
    references: Mapping[str, tuple[str | None, ...]],
    path: Path,
) -> Question:
    extra: dict[str, list[str]] = {}
    if line.category in REFERENCE_CATEGORIES:
        turns = [t for t in references.get(line.id, ()) if t is not None]
        if len(turns) < len(line.turns):
            raise HarnessError(
                f"question {line.id} ({line.category}) needs a reference answer to each turn; {path} lacks it",
                where=line.where,
                fix="Complete the reference answers, or choose `categories` without it.",
            )
        extra["references"] = turns
    temperature = TEMPERATURES.get(line.category, OTHER_TEMPERATURE)
    return Question(line.id, line.category, line.turns, temperature, settings.max_new_tokens, extra)
