"""Arena-Hard's battles, win rates, intervals and ratings."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from harness.bench.api import SCORE_COLUMNS, Question, Sample, samples_frame
from harness.bench.arena_hard.files import VARIANTS, JudgedGame, read_games, read_questions, read_styles
from harness.bench.arena_hard.style import controlled
from harness.core.errors import HarnessError
from harness.generate.api import Answer
from harness.judge.api import Verdict
from harness.judge.forms.arena import STRONG_WEIGHT, battles
from harness.stats.bootstrap import bootstrap_ci
from harness.stats.bradley_terry import bradley_terry, elo
from harness.stats.clustered import clustered_mean

BENCHMARK, METRIC = "arena_hard", "win_rate"


def category_metric(category: str) -> str:
    """v2.0's win rate of a category."""
    return f"{METRIC}_{category}"


def battle_samples(
    questions: Sequence[Question],
    answers: Sequence[Answer],
    verdicts: Sequence[Verdict],
    metric: Callable[[Question], str] = lambda _: METRIC,
) -> list[Sample]:
    """One row per battle, and one without a value for a game without a value; see `ArenaHard.samples`."""
    lengths = {a.id: len(a.turns[0] or "") for a in answers if a.turns}
    judged = {(v.task.item, v.task.repeat, v.task.variant): v for v in verdicts}
    repeats: dict[str, set[int]] = {}
    for v in verdicts:
        repeats.setdefault(v.task.item, set()).add(v.task.repeat)
    rows = []
    for q in questions:
        length = lengths.get(q.id, 0)
        for repeat in sorted(repeats.get(q.id, {0})):
            for game, variant in enumerate(VARIANTS):
                verdict = judged.get((q.id, repeat, variant))
                first = (len(VARIANTS) * repeat + game) * STRONG_WEIGHT
                value, count = _outcome(verdict) if verdict else (None, 1)
                status = verdict.reply.status if verdict else "missing"
                rows += [
                    Sample(BENCHMARK, metric(q), q.id, q.id, q.category, 1, first + k, value, status, length)
                    for k in range(count)
                ]
    return rows


def _outcome(verdict: Verdict) -> tuple[float | None, int]:
    """The model's share of the win in %, and the battles that it counts as."""
    value = verdict.reply.value
    if value is None:
        return None, 1
    share, count = battles(value if verdict.task.variant == "ab" else 1 - value)
    return 100 * share, count


def win_rates(samples: pd.DataFrame) -> pd.DataFrame:
    """SCORE_COLUMNS overall and, where there are several, by category; n and total are games."""
    rows = [
        (benchmark, metric, category, *_win_rate(group))
        for (benchmark, metric), of_metric in samples.groupby(["benchmark", "metric"], sort=False)
        for category, group in _groups(of_metric)
    ]
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS)).astype({"value": "Float64", "stderr": "Float64"})


def _groups(samples: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    yield "overall", samples
    names = samples["category"].unique()
    if len(names) > 1:
        for name in names:
            yield str(name), samples[samples["category"] == name]


def _win_rate(samples: pd.DataFrame) -> tuple[float | None, float | None, int, int]:
    """Value, standard error, scored games, all games."""
    games = samples["repeat"] % STRONG_WEIGHT == 0  # the further battles of a game are not counted again
    scored = samples["value"].notna()
    n, total = int((games & scored).sum()), int(games.sum())
    if not n:
        return None, None, 0, total
    with_value = samples[scored]
    return *clustered_mean(with_value["value"].to_numpy(dtype=float), with_value["cluster"].tolist()), n, total


def score_files(
    questions: Path, judgments: Sequence[Path], seed: int = 0, answers: Sequence[Path] = ()
) -> pd.DataFrame:
    """Scores of stored arena-hard-auto judgments: columns model, baseline, judge, SCORE_COLUMNS, low, high, rating.

    Games against two baselines, as v2.0 has them (one for each category), are two rates. `low` and `high` are the 95 %
    bootstrap interval over questions (in %, seeded), `rating` the Bradley-Terry rating on the Elo scale, fitted on all
    of a judge's models that met one baseline, which has 1000; it is null where a model won all battles or none. Lines
    for the same question are repeats. A question without a line counts in `total`; where there are several baselines,
    in that of the baselines that meet its category. With answer files, the baselines' among them, rows of the metric
    STYLE_CONTROLLED follow (see `style.controlled`).

    Raises:
        HarnessError: a broken line, or a judgment of a question that the question file does not have.
    """
    asked = [Question(q.id, q.category, (q.prompt,), 0.0, 1) for q in read_questions(questions)]
    categories = {q.id: q.category for q in asked}
    games = read_games(dict.fromkeys(judgments))
    if not games:
        raise HarnessError("no judgments", where=", ".join(map(str, judgments)))
    for game in games:
        if game.verdict.task.item not in categories:
            raise HarnessError(
                f"judges question {game.verdict.task.item}, which is not in {questions}",
                where=game.where,
                fix="Give the question file that these judgments belong to.",
            )
    met = {(game.baseline, categories[game.verdict.task.item]) for game in games}
    several = len({baseline for baseline, _ in met}) > 1
    blocks, styles = [], read_styles(answers)
    for (judge, baseline), of_judge in groupby(sorted(games, key=_by), key=lambda game: (game.judge, game.baseline)):
        theirs = [q for q in asked if not several or (baseline, q.category) in met]
        samples = {
            model: samples_frame(battle_samples(theirs, [], [game.verdict for game in of_model]))
            for model, of_model in groupby(of_judge, key=lambda game: game.model)
        }
        blocks.append(_score_models(judge, baseline, samples, seed))
        if answers:
            rows = controlled(dict(_groups_of_models(samples)), styles, baseline, seed)
            blocks.append(rows.assign(baseline=baseline, judge=judge))
    return pd.concat(blocks, ignore_index=True)


def _groups_of_models(samples: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, pd.DataFrame]]:
    """The samples of all models, overall and by category."""
    yield from _groups(pd.concat([of_model.assign(model=model) for model, of_model in samples.items()]))


def _by(game: JudgedGame) -> tuple[str, str, str]:
    return game.judge, game.baseline, game.model


def _score_models(judge: str, baseline: str, samples: Mapping[str, pd.DataFrame], seed: int) -> pd.DataFrame:
    """One judge's scores of several models (model -> its samples) that met one baseline, with intervals and ratings.

    See `score_files`.
    """
    ratings = _ratings(samples)
    frames = []
    for model, of_model in samples.items():
        scores = win_rates(of_model)
        groups = dict(_groups(of_model))
        bounds = [_interval(groups[category], seed) or (None, None) for category in scores["category"]]
        scores.insert(0, "model", model)
        scores.insert(1, "baseline", baseline)
        scores.insert(2, "judge", judge)
        scores["low"], scores["high"] = zip(*bounds, strict=True)
        scores["rating"] = [ratings[category].get(model) for category in scores["category"]]
        frames.append(scores.astype({"low": "Float64", "high": "Float64", "rating": "Float64"}))
    return pd.concat(frames, ignore_index=True)


def _ratings(samples: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float | None]]:
    """Category -> model -> rating, from one fit per category over all models and the baseline."""
    out: dict[str, dict[str, float | None]] = {}
    groups = {model: dict(_groups(of_model)) for model, of_model in samples.items()}
    for category in dict.fromkeys(name for of_model in groups.values() for name in of_model):
        models = [model for model in groups if category in groups[model]]
        wins = np.zeros((len(models) + 1, len(models) + 1))  # the baseline comes first
        for k, model in enumerate(models, 1):
            shares = groups[model][category]["value"].dropna().to_numpy(dtype=float) / 100
            wins[k, 0], wins[0, k] = shares.sum(), (1 - shares).sum()
        rating = elo(bradley_terry(wins))[1:]
        out[category] = {m: None if np.isnan(r) else float(r) for m, r in zip(models, rating, strict=True)}
    return out


def _interval(samples: pd.DataFrame, seed: int) -> tuple[float, float] | None:
    """Bootstrap over questions; a question's battles stay together."""
    scored = samples[samples["value"].notna()]
    sums = scored.groupby("cluster", sort=False)["value"].agg(["sum", "count"]).to_numpy(dtype=float)
    return bootstrap_ci(np.arange(len(sums)), lambda rows: float(np.divide(*sums[rows].sum(axis=0))), seed=seed)
