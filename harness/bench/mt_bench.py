"""MT-Bench: 80 two-turn questions in eight categories, each turn rated 1 to 10 by a judge.

Zheng et al., *Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena* (arXiv 2306.05685). Protocol, prompts and files
are FastChat's: temperature by category, reference-based prompts for math, reasoning and coding, the second turn judged
with the whole conversation, scores averaged over verdict rows.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd
from pydantic import Field

from harness.bench import _mt_bench_files as files_
from harness.bench._mt_bench_prompts import PLACEHOLDERS, judge_tasks
from harness.bench._turns import turn_samples, turn_scores
from harness.bench.api import Answer, Metric, Question, Sample, samples_frame
from harness.core.errors import HarnessError
from harness.core.settings import Settings, execution
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


class MTBenchSettings(Settings):
    """Which MT-Bench files, and how much of them."""

    data: Path = execution()
    """Folder with question.jsonl, judge_prompts.jsonl and reference_answer/*.jsonl; their content is what counts."""
    references: str = "gpt-4"
    """Whose reference answers: the name of a file in reference_answer/."""
    categories: tuple[str, ...] = ()
    """Only these categories; all by default."""
    questions: int | None = Field(None, ge=1)
    """Only the first so many questions (of the chosen categories)."""
    max_new_tokens: int = Field(1024, ge=1)


class MTBench:
    """A `GenerativeBenchmark`."""

    name = "mt_bench"
    version = 1
    settings: type[Settings] = MTBenchSettings
    metrics = (Metric("score", "points (1-10)", "higher", "general"),)
    program = None

    def form(self, settings: Settings) -> str:
        """Single-answer grading."""
        return "rating"

    def files(self, settings: Settings) -> dict[str, Path]:
        """Questions, judge prompts and reference answers."""
        own = _own(settings)
        return {
            "questions": own.data / "question.jsonl",
            "prompts": own.data / "judge_prompts.jsonl",
            "references": own.data / "reference_answer" / f"{own.references}.jsonl",
        }

    def questions(self, settings: Settings, files: Mapping[str, Path]) -> list[Question]:
        """The chosen questions in file order, those of the reference categories with their references.

        Raises:
            HarnessError: a broken or duplicate line, an unknown category, a missing reference.
        """
        own = _own(settings)
        lines = _chosen(files_.read_questions(files["questions"]), own, files["questions"])
        references = {a.id: a.turns for a in files_.read_answers(files["references"])}
        return [_question(line, own, references, files["references"]) for line in lines]

    def tasks(
        self,
        settings: Settings,
        files: Mapping[str, Path],
        questions: Sequence[Question],
        answers: Sequence[Answer],
    ) -> list[JudgeTask]:
        """One task per answered turn; the second turn is judged when both turns have answers."""
        prompts = files_.read_prompts(files["prompts"], PLACEHOLDERS)
        return judge_tasks(prompts, questions, answers)

    def samples(
        self,
        settings: Settings,
        files: Mapping[str, Path],
        questions: Sequence[Question],
        answers: Sequence[Answer],
        verdicts: Sequence[Verdict],
    ) -> list[Sample]:
        """One row per (question, turn), or one per verdict where it was judged several times."""
        return turn_samples(self.name, questions, answers, verdicts)

    def aggregate(self, samples: pd.DataFrame, files: Mapping[str, Path] | None = None) -> pd.DataFrame:
        """Overall, by turn and by category: the mean over rows that have a value, clustered by question."""
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
        """Write model_answer/MODEL.jsonl and model_judgment/JUDGE_single.jsonl."""
        files_.write_model(folder, model, judge, answers, tasks, verdicts)


BENCHMARK = MTBench()


def score_files(questions: Path, judgments: Sequence[Path]) -> pd.DataFrame:
    """Scores of stored FastChat judgments: columns model, judge, SCORE_COLUMNS; one block per (model, judge).

    Lines for the same (question, turn) are repeats, whichever file they are in. A (question, turn) without a line
    counts in `total`.

    Raises:
        HarnessError: a broken line, or a judgment of a question (or turn) that the question file does not have.
    """
    asked = [Question(q.id, q.category, q.turns, 0.0, 1) for q in files_.read_questions(questions)]
    turns = {q.id: len(q.turns) for q in asked}
    rows = files_.read_judgments(dict.fromkeys(judgments))
    if not rows:
        raise HarnessError("no judgments", where=", ".join(map(str, judgments)))
    for row in rows:
        if row.verdict.turn > turns.get(row.verdict.item, 0):
            raise HarnessError(
                f"judges question {row.verdict.item}, turn {row.verdict.turn}, which is not in {questions}",
                where=row.where,
                fix="Give the question file that these judgments belong to.",
            )
    return pd.concat([_block(asked, *key, list(group)) for key, group in groupby(sorted(rows, key=_by), key=_by)])


def _by(row: files_.Judgment) -> tuple[str, str]:
    return row.model, row.judge


def _block(asked: list[Question], model: str, judge: str, rows: list[files_.Judgment]) -> pd.DataFrame:
    samples = samples_frame(turn_samples(BENCHMARK.name, asked, [], [r.verdict for r in rows]))
    scores = BENCHMARK.aggregate(samples)
    scores.insert(0, "model", model)
    scores.insert(1, "judge", judge)
    return scores


def _own(settings: Settings) -> MTBenchSettings:
    assert isinstance(settings, MTBenchSettings)
    return settings


def _chosen(lines: list[files_.QuestionLine], settings: MTBenchSettings, path: Path) -> list[files_.QuestionLine]:
    there = list(dict.fromkeys(line.category for line in lines))
    if unknown := [c for c in settings.categories if c not in there]:
        raise HarnessError(f"has no category {', '.join(unknown)}", where=str(path), fix=f"It has {', '.join(there)}.")
    return [q for q in lines if not settings.categories or q.category in settings.categories][: settings.questions]


def _question(
    line: files_.QuestionLine,
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
