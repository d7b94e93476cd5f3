"""A panel: several judges of the same answers, whose mean is the score.

The samples of a metric M are those of all judges together, so that a score is the mean over judges, categories and
turns are scored as ever, and an error is clustered by question: the panel is what it is, not a draw of judges. A judge
that gave no verdict on an answer leaves the answer without a value for the panel, for a mean over the others would be
of a lower or a higher scale; the sample fails as that verdict did, and the score's `n` of `total` says so. Each judge
has a metric `M_by_JUDGE` of its own, over all of its verdicts.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

import pandas as pd

from harness.bench.api import Metric

_ROOM = 6000
"""Between the numbers of two judges' repeats; a multiple of the rows that a benchmark makes of one verdict."""
_UNIT = ["metric", "item", "turn"]


def of_judge(metric: Metric, judge: str) -> Metric:
    """One judge's own score."""
    return replace(metric, name=_named(metric.name, judge), headline=False, judge=judge)


def _named(metric: str, judge: str) -> str:
    return f"{metric}_by_{judge}"


def pooled(by_judge: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The panel's samples, from each judge's of the same answers."""
    tables = [table.assign(repeat=table["repeat"] + _ROOM * k) for k, table in enumerate(by_judge.values())]
    every = pd.concat(tables, ignore_index=True)
    failed = every[every["value"].isna()].drop_duplicates(_UNIT)[[*_UNIT, "status"]]
    failure = every[_UNIT].merge(failed, on=_UNIT, how="left")["status"]
    without = failure.notna() & every["value"].notna()
    return every.assign(value=every["value"].mask(without, pd.NA), status=every["status"].where(~without, failure))


def judges_own(
    judge: str, samples: pd.DataFrame, scores: pd.DataFrame, metrics: Collection[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One judge's samples and scores of these metrics, under their names for it."""
    named = {metric: _named(metric, judge) for metric in metrics}
    own = (table[table["metric"].isin(named.keys())] for table in (samples, scores))
    first, second = (table.assign(metric=table["metric"].map(named)) for table in own)
    return first, second
