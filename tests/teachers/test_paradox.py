import numpy as np
import pandas as pd
import pytest

from harness.core.errors import HarnessError
from harness.teachers.paradox import ALL, COLUMNS, paradox

META = pd.DataFrame(
    [("a1", "a", 1.0), ("a7", "a", 7.0), ("a70", "a", 70.0), ("b2", "b", 2.0), ("b9", "b", 9.0), ("gpt", "c", None)],
    columns=["teacher", "family", "size_b"],
)


def outcomes(**values: list[float | None]) -> pd.DataFrame:
    rows = [(s, t, v) for s, row in values.items() for t, v in zip(META["teacher"], row, strict=False)]
    return pd.DataFrame(rows, columns=["student", "teacher", "value"]).astype({"value": "float64"})


def one(frame: pd.DataFrame, student: str, family: str) -> pd.Series:
    found = frame[(frame["student"] == student) & (frame["family"] == family)]
    assert len(found) == 1
    return found.iloc[0]


def test_pairs_by_hand() -> None:
    frame = paradox(outcomes(x=[1, 3, 2, 5, 4, 9], y=[1, 2, 3, 4, 4, 9]), META)
    assert list(frame.columns) == list(COLUMNS)
    row = one(frame, "x", "a")
    assert (row["sizes_b"], row["outcomes"], row["teachers"]) == ("1, 7, 70", "1, 3, 2", "a1, a7, a70")
    assert (row["monotone"], row["pairs"]) == (False, 3)
    assert row["share"] == pytest.approx(2 / 3)
    assert np.isnan(row["low"])
    assert row["note"].startswith("no interval")
    assert one(frame, "y", "a")["monotone"]
    assert one(frame, "y", "b")["share"] == 0.5  # equal students: half
    pooled = one(frame, ALL, ALL)
    assert pooled["share"] == pytest.approx((2 + 0 + 3 + 0.5) / 8)
    assert (pooled["pairs"], pooled["clusters"], pooled["missing"]) == (8, 2, 2)  # gpt has no size, on two bases
    assert pooled["low"] < pooled["share"] < pooled["high"]
    assert one(frame, ALL, "a")["clusters"] == 2


def test_wilson_with_one_pair_per_family_is_the_textbooks() -> None:
    meta = pd.DataFrame(
        [(f"{f}{size}", f, float(size)) for f in "abcdefghij" for size in (1, 2)],
        columns=["teacher", "family", "size_b"],
    )
    values = [v for k in range(10) for v in ((0, 1) if k < 7 else (1, 0))]
    frame = paradox(pd.DataFrame({"student": "x", "teacher": meta["teacher"], "value": values}), meta)
    row = one(frame, ALL, ALL)
    assert (row["share"], row["pairs"], row["clusters"]) == (0.7, 10, 10)
    # Wilson with t(9) = 2.262 and the unbiased variance in place of z = 1.96: [.35, .91] against [.40, .89].
    assert (row["low"], row["high"]) == pytest.approx((0.35, 0.91), abs=0.01)


def test_missing_outcomes_are_counted_not_compared() -> None:
    frame = paradox(outcomes(x=[1, None, 2, 5]), META)
    row = one(frame, "x", "a")
    assert (row["sizes_b"], row["pairs"], row["missing"]) == ("1, 70", 1, 1)
    assert "b" not in set(frame["family"])  # b9 has no outcome
    assert one(frame, ALL, ALL)["missing"] == 3


def test_nothing_to_compare_is_null_with_a_reason() -> None:
    frame = paradox(outcomes(x=[1, 2, 3, 4, 5, 6]), META.assign(size_b=7.0))
    assert set(frame["family"]) == {ALL}
    assert frame["share"].isna().all()
    assert frame["note"].str.contains("no two teachers").all()


def test_seeds_are_averaged() -> None:
    runs = pd.concat([outcomes(x=[1, 9, 2]).assign(seed=0), outcomes(x=[1, 1, 8]).assign(seed=1)])
    assert one(paradox(runs, META), "x", "a")["outcomes"] == "1, 5, 5"


def test_faults_are_named() -> None:
    with pytest.raises(HarnessError, match="meta: no column size_b"):
        paradox(outcomes(x=[1, 2]), META.drop(columns="size_b"))
    with pytest.raises(HarnessError, match="student x, teacher a1 occurs twice"):
        paradox(pd.concat([outcomes(x=[1]), outcomes(x=[1])]), META)
