"""The Larger Models' Paradox (arXiv 2411.07133): inside a family, does the bigger teacher make the better student?

Every pair of teachers of a family with different sizes is a comparison: the bigger teacher made the better student (1),
the worse student (0), or an equal student (1/2). `share` is the mean; 1/2 means that size tells nothing.

The interval is Wilson's with clusters (`stats.intervals`), because pairs that share teachers are not independent. The
clusters are families where families are pooled, and student bases within a family. A family on a single base is a
single cluster, which has no interval.
"""

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd

from harness.stats.intervals import mean_interval
from harness.stats.spread import Rows
from harness.teachers._predictors import check_table, over_seeds

ALL = "all"
"""The `student` or `family` of rows that pool them."""
COLUMNS = (
    *("student", "family", "teachers", "sizes_b", "outcomes", "monotone", "share", "low", "high", "pairs", "clusters"),
    *("missing", "note"),
)


def paradox(outcomes: pd.DataFrame, meta: pd.DataFrame) -> pd.DataFrame:
    """COLUMNS: a row per (student base, family), then families, bases, and both pooled.

    Args:
        outcomes: student, teacher, value (higher is better), and `seed` where a pair was trained more than once.
        meta: teacher, family, size_b (billions of parameters).

    `teachers`, `sizes_b` and `outcomes` are in order of size; `monotone` says that no step to a bigger teacher made a
    worse student. `missing` counts teachers (in a pooled row: teachers on bases) that could not be compared because
    their family, size or outcome is unknown. A family with a single size on a base has no row there; pooled rows always
    exist.

    Raises:
        HarnessError: a column is missing, a row occurs twice, or a value is infinite.
    """
    pair = ["student", "teacher", *(["seed"] if "seed" in outcomes else [])]
    check_table(outcomes, "outcomes", ["student", "teacher", "value"], pair)
    check_table(meta, "meta", ["teacher", "family", "size_b"], ["teacher"])
    table = _table(outcomes, meta)
    pairs = _pairs(table)
    unknown = table[table[["family", "size_b", "value"]].isna().any(axis=1)]
    rows = [
        _row(pairs[(pairs["student"] == s) & (pairs["family"] == f)], str(s), str(f), "student") | _ladder(group)
        for (s, f), group in table.dropna().groupby(["student", "family"], sort=False)
        if group["size_b"].nunique() > 1
    ]
    rows += [_row(group, ALL, str(f), "student") for f, group in pairs.groupby("family", sort=False)]
    rows += [_row(pairs[pairs["student"] == s], str(s), ALL, "family") for s in table["student"].unique()]
    rows.append(_row(pairs, ALL, ALL, "family"))
    for row in rows:
        row["missing"] = _count(unknown, row["student"], row["family"])
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"share": "float64", "low": "float64", "high": "float64"})


def _table(outcomes: pd.DataFrame, meta: pd.DataFrame) -> pd.DataFrame:
    """student, teacher, value, family, size_b for every base and every teacher; null where unknown."""
    achieved = over_seeds(outcomes)
    teachers = dict.fromkeys([*meta["teacher"], *achieved["teacher"]])
    every = pd.MultiIndex.from_product([achieved["student"].unique(), teachers], names=["student", "teacher"])
    grid = every.to_frame(index=False).merge(achieved, how="left", on=["student", "teacher"])
    return grid.merge(meta[["teacher", "family", "size_b"]], how="left", on="teacher", validate="many_to_one")


def _pairs(table: pd.DataFrame) -> pd.DataFrame:
    """student, family, win: a row per pair of sizes; win is 1 where the bigger teacher made the better student."""
    pairs: list[dict[str, Any]] = []
    for (student, family), group in table.dropna().groupby(["student", "family"], sort=False):
        teachers = group.sort_values("size_b")[["size_b", "value"]].to_numpy(dtype=np.float64)
        for (small, low), (big, high) in combinations(teachers.tolist(), 2):
            if big > small:
                pairs.append({"student": student, "family": family, "win": 0.5 + 0.5 * np.sign(high - low)})
    return pd.DataFrame(pairs, columns=["student", "family", "win"])


def _row(pairs: pd.DataFrame, student: str, family: str, cluster: str) -> dict[str, Any]:
    row: dict[str, Any] = {"student": student, "family": family, "pairs": len(pairs), "note": ""}
    if pairs.empty:
        return row | {"clusters": 0, "note": "no two teachers of one family with different sizes"}
    wins, clusters = pairs["win"].to_numpy(dtype=np.float64), pairs[cluster].to_numpy()
    interval = mean_interval([Rows(wins, clusters, np.arange(len(wins)))], proportion=True)
    assert interval is not None, "there are rows"
    single, plural = ("family", "families") if cluster == "family" else ("student base", "student bases")
    note = f"clusters: {plural}" if interval.clusters > 1 else f"no interval: a single {single}"
    return row | {
        "share": interval.value,
        "low": interval.low,
        "high": interval.high,
        "clusters": interval.clusters,
        "note": note,
    }


def _ladder(group: pd.DataFrame) -> dict[str, Any]:
    """The family's teachers on a base, small to big."""
    steps = group.sort_values("size_b")
    values: Sequence[float] = steps["value"].tolist()
    return {
        "teachers": ", ".join(steps["teacher"]),
        "sizes_b": ", ".join(f"{s:g}" for s in steps["size_b"]),
        "outcomes": ", ".join(f"{v:.4g}" for v in values),
        "monotone": all(a <= b for a, b in pairwise(values)),
    }


def _count(unknown: pd.DataFrame, student: str, family: str) -> int:
    rows = unknown if student == ALL else unknown[unknown["student"] == student]
    return len(rows if family == ALL else rows[rows["family"] == family])
