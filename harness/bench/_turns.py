"""Scores of benchmarks whose samples are turns of questions: the mean, overall, by turn and by category."""

import pandas as pd

from harness.bench.api import SCORE_COLUMNS
from harness.stats.clustered import clustered_mean


def turn_scores(samples: pd.DataFrame) -> pd.DataFrame:
    """SCORE_COLUMNS for each (benchmark, metric) of the samples, in their order.

    A mean is over the rows that have a value, its standard error clustered by question.
    """
    rows = []
    for (benchmark, metric), own in samples.groupby(["benchmark", "metric"], sort=False):
        groups = [("overall", own)]
        groups += [(f"turn_{turn}", own[own["turn"] == turn]) for turn in sorted(own["turn"].unique())]
        groups += [(str(name), own[own["category"] == name]) for name in own["category"].unique()]
        rows += [(benchmark, metric, category, *_mean(group)) for category, group in groups]
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS)).astype({"value": "Float64", "stderr": "Float64"})


def _mean(group: pd.DataFrame) -> tuple[float | None, float | None, int, int]:
    """Value, standard error, scored rows, all rows."""
    scored = group[group["value"].notna()]
    if scored.empty:
        return None, None, 0, len(group)
    value, stderr = clustered_mean(scored["value"].to_numpy(dtype=float), scored["cluster"].tolist())
    return value, stderr, len(scored), len(group)
