"""Arena-Hard v2.0's win rates at equal style: length and Markdown, over all models that were judged."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from harness.bench.api import SCORE_COLUMNS
from harness.core.errors import HarnessError
from harness.judge.forms.arena import STRONG_WEIGHT
from harness.stats.style_control import Floats, controlled_win_rates, standardised, style_differences

STYLE_CONTROLLED = "style_controlled_win_rate"
_DRAWS = 200
"""Bootstrap draws of questions."""


def controlled(
    groups: Mapping[str, pd.DataFrame], styles: Mapping[str, Mapping[str, tuple[int, ...]]], baseline: str, seed: int
) -> pd.DataFrame:
    """A row per category and model with STYLE_CONTROLLED in % and its 95 % bootstrap interval over questions.

    The battles of all models of a category (`model`, and the columns of samples) are one fit: the rate is the model's
    at the average difference in style of all of these battles, and changes with who is among them. `styles` has the
    counts of `files.STYLE` by model and question. Upstream gives the median of 100 fits to resampled battles; this is
    the fit to all of them.

    Raises:
        HarnessError: the counts of an answer are not known.
    """
    frames = [_category(category, battles, styles, baseline, seed) for category, battles in groups.items()]
    return pd.concat(frames, ignore_index=True)


def _category(
    category: str,
    battles: pd.DataFrame,
    styles: Mapping[str, Mapping[str, tuple[int, ...]]],
    baseline: str,
    seed: int,
) -> pd.DataFrame:
    names = list(battles["model"].unique())
    games, scored = battles[battles["repeat"] % STRONG_WEIGHT == 0], battles[battles["value"].notna()]
    player = np.array([names.index(model) for model in scored["model"]], dtype=np.intp)
    items = scored["item"].tolist()
    style = standardised(
        style_differences(
            np.array([_counts(styles, model, item) for model, item in zip(scored["model"], items, strict=True)]),
            np.array([_counts(styles, baseline, item) for item in items]),
        )
    )
    outcome = scored["value"].to_numpy(dtype=float) / 100
    rates = controlled_win_rates(player, style, outcome, np.ones(len(outcome)))
    _, question = np.unique(items, return_inverse=True)
    draws = np.random.default_rng(seed).multinomial(
        question.max() + 1, np.full(question.max() + 1, 1 / (question.max() + 1)), _DRAWS
    )
    drawn = np.array([controlled_win_rates(player, style, outcome, drawn[question].astype(float)) for drawn in draws])
    rows = []
    for k, model in enumerate(names):
        of_model = games[games["model"] == model]
        n, total = int(of_model["value"].notna().sum()), len(of_model)
        rows.append((model, "arena_hard", STYLE_CONTROLLED, category, *_bounded(rates[k], drawn[:, k]), n, total))
    columns = ["model", *SCORE_COLUMNS[:4], "stderr", "low", "high", "n", "total"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(["value", "stderr", "low", "high"], "Float64"))


def _bounded(rate: float, drawn: Floats) -> tuple[float | None, float | None, float | None, float | None]:
    """The rate, its standard error and interval in %; None where it is not finite, or too often is not in a draw."""
    if np.isnan(rate):
        return None, None, None, None
    if np.isnan(drawn).mean() > 0.025:
        return 100 * rate, None, None, None
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return 100 * rate, 100 * float(np.nanstd(drawn, ddof=1)), 100 * float(low), 100 * float(high)


def _counts(styles: Mapping[str, Mapping[str, tuple[int, ...]]], model: str, item: str) -> tuple[int, ...]:
    if item not in styles.get(model, {}):
        what = f"the answer files do not say how {model} wrote its answer to question {item}"
        raise HarnessError(what, where="--answers", fix="Give the answers of every judged model and of its baseline.")
    return styles[model][item]
