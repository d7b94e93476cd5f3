"""Benchmarks whose samples are turns of questions: the samples, and their means overall, by turn and by category."""

from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from harness.bench.api import SCORE_COLUMNS, Question, Sample
from harness.generate.api import Answer
from harness.judge.api import JudgeTask, Verdict
from harness.stats.clustered import clustered_mean
from harness.store.ledger import Reply


def turn_samples(
    benchmark: str,
    questions: Sequence[Question],
    answers: Sequence[Answer],
    verdicts: Iterable[Verdict],
    metric: Callable[[Question], str] = lambda _: "score",
) -> list[Sample]:
    """One row per verdict; a (question, turn) without a verdict is a row with status `missing`."""
    given = {a.id: a.turns for a in answers}
    judged: dict[tuple[str, int], list[Verdict]] = {}
    for verdict in verdicts:
        judged.setdefault((verdict.task.item, verdict.task.turn), []).append(verdict)
    rows = []
    for q in questions:
        for turn in range(1, len(q.turns) + 1):
            texts = given.get(q.id, ())
            length = len(texts[turn - 1] or "") if len(texts) >= turn else 0
            where = (benchmark, metric(q), q.id, q.id, q.category, turn)
            on_turn = judged.get((q.id, turn), [Verdict(JudgeTask(q.id, turn), Reply("missing"))])
            rows += [Sample(*where, v.task.repeat, v.reply.value, v.reply.status, length) for v in on_turn]
    return rows


def turn_scores(samples: pd.DataFrame) -> pd.DataFrame:
    """SCORE_COLUMNS for each (benchmark, metric) of the samples, in their order.

    A mean is over the rows that have a value, its standard error clustered by question.
    """
    rows = []
    for (benchmark, metric), of_metric in samples.groupby(["benchmark", "metric"], sort=False):
        turns, categories = of_metric["turn"], of_metric["category"]
        groups = [("overall", of_metric)]
        groups += [(f"turn_{turn}", of_metric[turns == turn]) for turn in sorted(turns.unique())]
        groups += [(str(name), of_metric[categories == name]) for name in categories.unique()]
        rows += [(benchmark, metric, category, *_mean(group)) for category, group in groups]
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS)).astype({"value": "Float64", "stderr": "Float64"})


def _mean(group: pd.DataFrame) -> tuple[float | None, float | None, int, int]:
    """Value, standard error, scored rows, all rows."""
    scored = group[group["value"].notna()]
    if scored.empty:
        return None, None, 0, len(group)
    value, stderr = clustered_mean(scored["value"].to_numpy(dtype=float), scored["cluster"].tolist())
    return value, stderr, len(scored), len(group)
