"""The pocket suite: held-out two-turn questions of the pocket world, every answer checked by a program.

Five of its eight categories are general and three of the shop domain; each part has its own metric. A turn is right
(100) or wrong (0), judged against the true first answer even where the model's own was wrong.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from pydantic import Field

from harness.bench._mt_bench_files import write_model
from harness.bench._turns import turn_scores
from harness.bench.api import Answer, Metric, Question, Sample
from harness.core.canonical import Json
from harness.core.settings import Settings
from harness.data.pocket import CATEGORIES, check, questions
from harness.judge.api import JudgeTask, Program, Verdict


class PocketSettings(Settings):
    """How many questions of the pocket suite, and which draw of them."""

    questions: int = Field(160, ge=8, le=400)
    """Two-turn questions, balanced over the eight categories."""
    seed: int = 0
    """Another seed asks other held-out questions."""
    max_new_tokens: int = Field(16, ge=1)


def judge(evidence: Mapping[str, Json]) -> tuple[float, str]:
    """100 for a right answer, 0 for a wrong one, and why. Raises ValueError for evidence of another world."""
    if not isinstance(evidence.get("answer"), str) or not isinstance(evidence.get("facts"), Mapping):
        raise ValueError("evidence has no answer or no facts")
    score, why = check(evidence["facts"], evidence["answer"])
    return 100 * score, why


class Pocket:
    """A `GenerativeBenchmark`."""

    name = "pocket"
    version = 1
    settings: type[Settings] = PocketSettings
    metrics: tuple[Metric, ...] = (
        Metric("general_score", "% correct", "higher", "general"),
        Metric("domain_score", "% correct", "higher", "domain"),
    )
    program: Program | None = staticmethod(judge)

    def form(self, settings: Settings) -> str:
        """A rating, should a model ever judge."""
        return "rating"

    def files(self, settings: Settings) -> dict[str, Path]:
        """None: the questions are made by the program."""
        return {}

    def questions(self, settings: Settings, files: Mapping[str, Path]) -> list[Question]:
        """Different held-out items, the categories in turn; each with its facts and right answers."""
        own = _own(settings)
        return [
            Question(
                id=f"{item.category}-{number // len(CATEGORIES)}",
                category=item.category,
                turns=tuple(turn.text for turn in item.turns),
                temperature=0.0,
                max_new_tokens=own.max_new_tokens,
                extra={
                    "facts": [dict(turn.facts) for turn in item.turns],
                    "references": [turn.answer for turn in item.turns],
                },
            )
            for number, item in enumerate(questions(own.questions, own.seed))
        ]

    def tasks(
        self,
        settings: Settings,
        files: Mapping[str, Path],
        questions: Sequence[Question],
        answers: Sequence[Answer],
    ) -> list[JudgeTask]:
        """One task per answered turn, with {question, answer, facts, reference} as evidence."""
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
        questions: Sequence[Question],
        answers: Sequence[Answer],
        verdicts: Sequence[Verdict],
    ) -> list[Sample]:
        """One row per question and turn; a turn without a verdict is `missing`, and has no value."""
        given = {answer.id: answer.turns for answer in answers}
        judged = {(v.item, v.turn): v for v in verdicts}
        rows = []
        for q in questions:
            for turn in range(1, len(q.turns) + 1):
                texts = given.get(q.id, ())
                length = len(texts[turn - 1] or "") if len(texts) >= turn else 0
                v = judged.get((q.id, turn), Verdict(q.id, turn, 0, "missing", None, ""))
                value = v.value if v.status == "ok" else None
                metric = f"{CATEGORIES[q.category]}_score"
                rows.append(Sample(self.name, metric, q.id, q.id, q.category, turn, 0, value, v.status, length))
        return rows

    def aggregate(self, samples: pd.DataFrame) -> pd.DataFrame:
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
    ) -> None:
        """Write model_answer/MODEL.jsonl and model_judgment/JUDGE_single.jsonl in FastChat's format."""
        write_model(folder, model, judge, answers, tasks, verdicts)


BENCHMARK = Pocket()


def _own(settings: Settings) -> PocketSettings:
    assert isinstance(settings, PocketSettings)
    return settings


def _task(question: Question, number: int, text: str) -> JudgeTask:
    evidence = {
        "question": question.turns[number],
        "answer": text,
        "facts": question.extra["facts"][number],
        "reference": question.extra["references"][number],
    }
    messages = ({"role": "user", "content": question.turns[number]},)
    return JudgeTask(question.id, number + 1, "program", messages, evidence)
