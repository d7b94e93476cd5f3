import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from harness.core.errors import HarnessError
from harness.teachers.car import car_sweep
from harness.teachers.leaderboard import leaderboard
from tests.teachers.tables import random_parts, settings

ALL = settings()
Pair = tuple[float, float]


def parts_with(*pairs: Pair, prompts: int = 4, student: str = "base") -> pd.DataFrame:
    """Teachers t00, t01, ... with these (reward, loss) on every prompt."""
    parts = random_parts(len(pairs), prompts, student=student)
    for column, values in zip(("car.0", "car.1"), zip(*pairs, strict=True), strict=True):
        parts[column] = np.repeat(values, prompts)
    return parts


def test_a_swap_worked_by_hand() -> None:
    # 6 / (1 + 3 beta) = 4 / (1 + beta) at beta = (6 - 4) / (4 * 3 - 6 * 1) = 1/3, where both are 3.
    sweep = car_sweep(parts_with((6, 3), (4, 1)), ALL)
    assert sweep.crossings.to_dict("records") == [
        {"student": "base", "before": "t00", "after": "t01", "beta": pytest.approx(1 / 3)}
    ]
    first = sweep.frame[sweep.frame["rank"] == 1].set_index("beta")["teacher"].to_dict()
    assert first == {0.0: "t00", 0.1: "t00", 0.3: "t00", 1.0: "t01", 3.0: "t01", 10.0: "t01"}
    top = sweep.top.iloc[0]
    assert (top["teacher"], top["beta"], top["high"], top["first"]) == ("t01", 1.0, np.inf, 1.0)
    assert top["low"] == pytest.approx(1 / 3)
    assert top["share"] == pytest.approx((10 - 1 / 3) / 10)


def test_at_beta_zero_car_is_the_reward() -> None:
    frame = car_sweep(random_parts(3, 20), ALL, betas=[0]).frame
    means = random_parts(3, 20).groupby("teacher")["reward.0"].mean()
    np.testing.assert_allclose(frame.set_index("teacher")["car"].sort_index(), means)


def test_agrees_with_the_leaderboard_at_the_settings_beta() -> None:
    parts = pd.concat([random_parts(5, 12), random_parts(5, 12, seed=9, student="other")])
    wanted = settings(car={"beta": 0.7})
    sweep = car_sweep(parts, wanted, betas=[0.7, 2], seed=4, resamples=300)
    board = leaderboard(parts, wanted, seed=4, resamples=300).query("score == 'car' and student != 'overall'")
    at = sweep.frame[sweep.frame["beta"] == 0.7].set_index(["student", "teacher"]).sort_index()
    board = board.set_index(["student", "teacher"]).sort_index()
    for ours, theirs in (("car", "value"), ("rank", "rank"), ("first", "first")):
        np.testing.assert_allclose(at[ours], board[theirs])
    assert list(sweep.top["student"]) == ["base", "other"]


positive = st.floats(0.1, 10)
pairs = st.lists(st.tuples(positive, positive), min_size=2, max_size=5)


@hypothesis_settings(deadline=None, max_examples=60)
@given(pairs)
def test_teachers_are_equal_at_a_crossing_and_swap_there(values: list[Pair]) -> None:
    sweep = car_sweep(parts_with(*values), ALL, resamples=5)
    places = {f"t{k:02d}": pair for k, pair in enumerate(values)}

    def car(teacher: str, beta: float) -> float:
        reward, loss = places[teacher]
        return reward / (1 + beta * loss)

    for _, crossing in sweep.crossings.iterrows():
        before, after, beta = crossing["before"], crossing["after"], crossing["beta"]
        assert beta > 0
        assert car(before, beta) == pytest.approx(car(after, beta), rel=1e-6)
        assert car(before, beta / 2) >= car(after, beta / 2) * (1 - 1e-9)
        assert car(before, beta * 2) <= car(after, beta * 2) * (1 + 1e-9)


@hypothesis_settings(deadline=None, max_examples=60)
@given(pairs, st.floats(0, 20))
def test_the_top_stays_exactly_on_its_interval(values: list[Pair], at: float) -> None:
    top = car_sweep(parts_with(*values), ALL, resamples=5).top.iloc[0]
    assume(min(abs(at - top["low"]), abs(at - top["high"])) > 1e-4)
    cars = {f"t{k:02d}": reward / (1 + at * loss) for k, (reward, loss) in enumerate(values)}
    leads = cars[top["teacher"]] >= max(cars.values()) * (1 - 1e-9)
    ties = [c for c in cars.values() if c == pytest.approx(max(cars.values()), rel=1e-6)]
    assume(len(ties) == 1 or leads)
    assert leads == (top["low"] <= at <= top["high"])


def test_a_teacher_that_is_better_in_both_never_swaps() -> None:
    sweep = car_sweep(parts_with((6, 1), (4, 3)), ALL)
    assert sweep.crossings.empty
    assert list(sweep.crossings.columns) == ["student", "before", "after", "beta"]
    assert sweep.top.iloc[0][["low", "high", "share"]].tolist() == [0, np.inf, 1]


def test_equal_teachers_do_not_swap_by_rounding() -> None:
    parts = random_parts(1, 37)
    twins = pd.concat([parts, parts.assign(teacher="twin")])
    sweep = car_sweep(twins, ALL, resamples=50)
    assert sweep.crossings.empty
    assert (sweep.frame["rank"] == 1.5).all()
    assert (sweep.frame["first"] == 0.5).all()


def test_the_shift_moves_the_crossing() -> None:
    wanted = settings(car={"shift": 10.0})
    sweep = car_sweep(parts_with((-4, 3), (-6, 1)), wanted)
    assert sweep.crossings["beta"].item() == pytest.approx(1 / 3)  # rewards 6 and 4, as above


def test_a_tie_at_the_settings_beta_is_a_bound() -> None:
    top = car_sweep(parts_with((6, 3), (4, 1)), settings(car={"beta": 1 / 3})).top.iloc[0]
    assert top["teacher"] == "t00"
    assert top["high"] == pytest.approx(1 / 3)
    assert top["low"] == 0


def test_one_swept_beta() -> None:
    assert car_sweep(parts_with((6, 3), (4, 1)), ALL, betas=[5]).top["share"].item() == 1
    assert car_sweep(parts_with((6, 3), (4, 1)), ALL, betas=[0.1]).top["share"].item() == 0


def test_bad_input() -> None:
    parts = random_parts(2, 5)
    with pytest.raises(HarnessError, match="no CAR to sweep"):
        car_sweep(parts.drop(columns=["car.0", "car.1"]), ALL)
    with pytest.raises(HarnessError, match="no CAR to sweep"):
        car_sweep(parts.assign(status="empty"), ALL)
    for betas in ([], [-1.0, 1.0], [float("inf")]):
        with pytest.raises(HarnessError, match="at least 0"):
            car_sweep(parts, ALL, betas=betas)
    with pytest.raises(HarnessError, match=r"negative.*teacher t01"):
        car_sweep(parts_with((1, 1), (-1, 1)), ALL)
