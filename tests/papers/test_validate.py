"""What the papers print, and what follows from it, to the printed digits."""

import pandas as pd
import pytest

from harness.teachers.validation import COLUMNS, MEAN
from harness_papers import published
from harness_papers.validate import CAR, RSR, published_checks, published_paradox, published_validation

BASES = ["Qwen2-1.5B", "Gemma-2-2B", "Qwen2.5-3B", "Llama-3.2-3B", "Llama-3.1-Minitron-4B"]


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    return published_validation()


def spearman(found: pd.DataFrame, paper: str, source: str, score: str) -> "pd.Series[float]":
    rows = found[(found["paper"] == paper) & (found["source"] == source) & (found["score"] == score)]
    rows = rows[rows["statistic"] == "spearman"]
    assert not rows.duplicated("student").any()
    return rows.set_index("student")["value"]


def test_leave_one_student_out_beats_car(found: pd.DataFrame) -> None:
    others = spearman(found, CAR, "derived", "leave_one_student_out")
    assert others[BASES].round(4).tolist() == [0.9246, 0.9088, 0.8684, 0.9351, 0.9246]
    assert round(others[MEAN], 3) == 0.912
    car = spearman(found, CAR, "printed", "car")
    assert car[BASES].tolist() == [0.8842, 0.9, 0.8105, 0.9053, 0.9439]
    assert round(car[BASES].mean(), 3) == round(car[MEAN], 3) == 0.889
    assert (found.loc[found["score"] == "leave_one_student_out", "paper"].unique() == [CAR, RSR]).all()


def test_size_says_little(found: pd.DataFrame) -> None:
    assert round(spearman(found, CAR, "derived", "size")[MEAN], 3) == 0.184
    rows = found[(found["paper"] == CAR) & (found["score"] == "size") & (found["student"] != MEAN)]
    assert rows[["n", "total", "no_score", "no_outcome"]].drop_duplicates().to_numpy().tolist() == [[19, 20, 1, 1]]


def test_rsr(found: pd.DataFrame) -> None:
    others = spearman(found, RSR, "derived", "leave_one_student_out")
    assert round(others[MEAN], 3) == 0.905
    assert spearman(found, RSR, "printed", "rsr")[MEAN] == 0.86
    assert abs(spearman(found, RSR, "derived", "strength")[MEAN]) < 0.25


def test_a_printed_number_has_no_interval_and_says_so(found: pd.DataFrame) -> None:
    assert list(found.columns) == ["paper", "source", *COLUMNS]
    printed = found[found["source"] == "printed"]
    assert printed[["low", "high"]].isna().all(axis=None)
    assert printed["note"].str.contains("as printed").all()
    assert len(printed) == 9 * 6 + 1
    derived = found[(found["source"] == "derived") & found["value"].isna()]
    assert (derived["note"] != "").all()


def test_the_15_average_performances_follow_from_their_parts() -> None:
    checks = published_checks()
    performances = checks[checks["quantity"] == "ap"]
    assert len(performances) == 15
    assert performances["agrees"].all()
    assert ((performances["printed"] - performances["derived"]).abs() <= 0.005 + 1e-9).all()


def test_table_4_is_exact_but_for_one_cell() -> None:
    checks = published_checks()
    cells = checks[(checks["table"] == "stronger_teachers_table4") & (checks["row"] != "Average")]
    assert len(cells) == 45
    assert cells.loc[~cells["agrees"], ["row", "quantity"]].to_numpy().tolist() == [
        ["Llama-3.1-Minitron-4B", "ifd_self"]
    ]
    cut_off = cells[cells["agrees"] & (cells["derived"].round(4) != cells["printed"])]
    assert cut_off[["row", "quantity", "printed"]].to_numpy().tolist() == [["Qwen2-1.5B", "ppl_gpt2", 0.1473]]
    averages = checks[checks["row"] == "Average"]
    assert len(averages) == 9
    assert averages["agrees"].all()
    assert averages["exact"].all()


def test_what_is_printed_twice_is_compared() -> None:
    checks = published_checks()
    twice = checks[checks["note"].str.startswith("printed again")]
    assert len(twice) == 7
    assert twice.loc[~twice["exact"], ["row", "quantity"]].to_numpy().tolist() == [
        ["Llama-3.1-Minitron-4B / Greedy", "ae2_wr"],  # 14.51 and 14.5
        ["DeepSeek-R1", "Qwen2.5-7B"],  # 47.3 and 47.8
    ]


def test_categories_read_by_eye_average_to_the_printed_score() -> None:
    checks = published_checks()
    radar = checks[checks["table"] == "teacher_million_radar_by_eye"]
    assert len(radar) == 5
    assert ((radar["printed"] - radar["derived"]).abs() < 0.03).all()


def test_a_wrong_digit_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = published.table

    def slipped(name: str) -> pd.DataFrame:
        frame = whole(name)
        if name == "stronger_teachers_table2":
            frame["arena_hard_wr"] += [0.1, *[0.0] * (len(frame) - 1)]
        if name == "stronger_teachers_table4":
            frame["car"] += [0.0002, *[0.0] * (len(frame) - 1)]
        return frame

    monkeypatch.setattr(published, "table", slipped)
    checks = published_checks()
    assert checks.loc[~checks["agrees"], "quantity"].tolist() == ["ap", "ifd_self", "car", "Qwen2.5-7B"]


def test_bigger_teachers_are_not_better_teachers() -> None:
    frame = published_paradox()
    ladders = frame[frame["monotone"].notna()]
    assert ladders.groupby("paper")["monotone"].agg(["sum", "count"]).to_numpy().tolist() == [[6, 30], [0, 10]]
    pooled = frame[(frame["student"] == "all") & (frame["family"] == "all")].set_index("paper")
    assert pooled["pairs"].tolist() == [115, 35]
    assert pooled["share"].tolist() == pytest.approx([73 / 115, 5 / 35])
    assert pooled["low"][CAR] < 0.5 < pooled["high"][CAR]
