"""The Larger Models' Paradox (arXiv 2411.07133): inside a family, does the bigger teacher make the better student?

Every pair of teachers of one family with different sizes is one comparison: the bigger one made the better student
(1), the worse one (0), or the same (one half). `share` is their mean; one half is what size tells if it tells nothing.

The interval is Wilson's with clusters (`stats.intervals`), because pairs that share teachers are not independent:
families are the clusters where families are pooled, student bases where one family is. One family on one base is one
cluster, which has no interval.
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
    """COLUMNS: one row per (student base, family), then families, bases, and both pooled.

    Args:
        outcomes: student, teacher, value (higher is better), and `seed` where a pair was trained more than once.
        meta: teacher, family, size_b (billions of parameters).

    `teachers`, `sizes_b` and `outcomes` are in order of size; `monotone` says that no step to a bigger teacher made a
    worse student. `missing` counts teachers (of a pooled row: teachers on bases) that could not be compared for want
    of a family, a size or an outcome. Families with one size only have no row; a pooled row has one in any case.

    Raises:
        HarnessError: a column is missing, a row is there twice, or a value is infinite.
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
    """student, teacher, value, family, size_b for every base and every teacher; null where not known."""
    achieved = over_seeds(outcomes)
    teachers = dict.fromkeys([*meta["teacher"], *achieved["teacher"]])
    every = pd.MultiIndex.from_product([achieved["student"].unique(), teachers], names=["student", "teacher"])
    grid = every.to_frame(index=False).merge(achieved, how="left", on=["student", "teacher"])
    return grid.merge(meta[["teacher", "family", "size_b"]], how="left", on="teacher", validate="many_to_one")


def _pairs(table: pd.DataFrame) -> pd.DataFrame:
    """student, family, win: one row per pair of sizes, win 1 where the bigger teacher made the better student."""
    found: list[dict[str, Any]] = []
    for (student, family), group in table.dropna().groupby(["student", "family"], sort=False):
        teachers = group.sort_values("size_b")[["size_b", "value"]].to_numpy(dtype=np.float64)
        for (small, low), (big, high) in combinations(teachers.tolist(), 2):
            if big > small:
                found.append({"student": student, "family": family, "win": 0.5 + 0.5 * np.sign(high - low)})
    return pd.DataFrame(found, columns=["student", "family", "win"])


def _row(pairs: pd.DataFrame, student: str, family: str, cluster: str) -> dict[str, Any]:
    row: dict[str, Any] = {"student": student, "family": family, "pairs": len(pairs), "note": ""}
    if pairs.empty:
        return row | {"clusters": 0, "note": "no two teachers of one family with different sizes"}
    wins, clusters = pairs["win"].to_numpy(dtype=np.float64), pairs[cluster].to_numpy()
    found = mean_interval([Rows(wins, clusters, np.arange(len(wins)))], proportion=True)
    assert found is not None  # there are rows
    what = "families" if cluster == "family" else "student bases"
    note = f"clusters: {what}" if found.clusters > 1 else f"no interval: one of the {what}"
    return row | {
        "share": found.value,
        "low": found.low,
        "high": found.high,
        "clusters": found.clusters,
        "note": note,
    }


def _ladder(group: pd.DataFrame) -> dict[str, Any]:
    """The family's teachers on one base, small to big."""
    steps = group.sort_values("size_b")
    values: Sequence[float] = steps["value"].tolist()
    return {
        "teachers": ", ".join(steps["teacher"]),
        "sizes_b": ", ".join(f"{s:g}" for s in steps["size_b"]),
        "outcomes": ", ".join(f"{v:.4g}" for v in values),
        "monotone": all(a <= b for a, b in pairwise(values)),
    }


def _count(unknown: pd.DataFrame, student: str, family: str) -> int:
    here = unknown if student == ALL else unknown[unknown["student"] == student]
    return len(here if family == ALL else here[here["family"] == family])
