"""The pocket suite: held-out two-turn questions of the pocket world, every answer checked by a program.

Five of its eight categories are general and three of the shop domain; each part has its own metric. A turn is right
(100) or wrong (0), judged against the true first answer even where the model's own was wrong.
"""

from collections.abc import Mapping

from pydantic import Field

from harness.bench.api import Metric, Question
from harness.bench.program import program_benchmark
from harness.core.canonical import Json
from harness.core.settings import Settings
from harness.data.pocket import CATEGORIES, check, questions


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


def _questions(settings: PocketSettings) -> list[Question]:
    """Different held-out items, the categories in turn; each with its facts and right answers."""
    return [
        Question(
            id=f"{item.category}-{number // len(CATEGORIES)}",
            category=item.category,
            turns=tuple(turn.text for turn in item.turns),
            temperature=0.0,
            max_new_tokens=settings.max_new_tokens,
            extra={
                "facts": [dict(turn.facts) for turn in item.turns],
                "references": [turn.answer for turn in item.turns],
            },
        )
        for number, item in enumerate(questions(settings.questions, settings.seed))
    ]


BENCHMARK = program_benchmark(
    name="pocket",
    version=1,
    settings=PocketSettings,
    metrics=(
        Metric("general_score", "% correct", "higher", "general", binary=True),
        Metric("domain_score", "% correct", "higher", "domain", binary=True),
    ),
    questions=_questions,
    check=judge,
    metric_of=lambda question: f"{CATEGORIES[question.category]}_score",
)
