"""Scores of stored MT-Bench judgments."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd

from harness.bench.api import Question, samples_frame
from harness.bench.mt_bench.files import Judgment, read_judgments, read_questions
from harness.bench.turns import turn_samples, turn_scores
from harness.core.errors import HarnessError


def score_files(questions: Path, judgments: Sequence[Path]) -> pd.DataFrame:
    """Scores of stored FastChat judgments: columns model, judge, SCORE_COLUMNS; one block per (model, judge).

    Lines for the same (question, turn) are repeats, whichever file they are in. A (question, turn) without a line
    counts in `total`.

    Raises:
        HarnessError: a broken line, or a judgment of a question (or turn) that the question file does not have.
    """
    asked = [Question(q.id, q.category, q.turns, 0.0, 1) for q in read_questions(questions)]
    turns = {q.id: len(q.turns) for q in asked}
    rows = read_judgments(dict.fromkeys(judgments))
    if not rows:
        raise HarnessError("no judgments", where=", ".join(map(str, judgments)))
    for row in rows:
        if row.verdict.task.turn > turns.get(row.verdict.task.item, 0):
            raise HarnessError(
                f"judges question {row.verdict.task.item}, turn {row.verdict.task.turn}, which is not in {questions}",
                where=row.where,
                fix="Give the question file that these judgments belong to.",
            )
    return pd.concat([_block(asked, *key, list(group)) for key, group in groupby(sorted(rows, key=_by), key=_by)])


def _by(row: Judgment) -> tuple[str, str]:
    return row.model, row.judge


def _block(asked: list[Question], model: str, judge: str, rows: list[Judgment]) -> pd.DataFrame:
    samples = samples_frame(turn_samples("mt_bench", asked, [], [r.verdict for r in rows]))
    scores = turn_scores(samples)
    scores.insert(0, "model", model)
    scores.insert(1, "judge", judge)
    return scores
