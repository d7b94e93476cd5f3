"""Replicates that share draws: paired by draw, seeds averaged within them, and the difference of a new draw."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.stats.intervals import Difference, mean_interval, paired_difference, prediction
from harness.stats.power import seeds_needed
from harness.stats.spread import Rows

ITEMS = 40


def rows(level: float, draw: str, rng: np.random.Generator, noise: float = 1.0) -> Rows:
    names = np.arange(ITEMS)
    return Rows(level + rng.normal(size=ITEMS) * noise, names, names, draw)


def difference(first: list[Rows], second: list[Rows]) -> Difference:
    found = paired_difference(first, second)
    assert found is not None
    return found


def test_where_draws_differ_most_it_is_the_paired_t_test_over_draws() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 50, size=6), rng.normal(0, 50, size=6)
    found = difference(
        [rows(v, str(d), rng, 0.01) for d, v in enumerate(one)],
        [rows(v, str(d), rng, 0.01) for d, v in enumerate(other)],
    )
    expected = stats.ttest_rel(one, other)
    assert found.draws == 6
    assert found.p == pytest.approx(expected.pvalue, rel=0.01)
    assert found.value == pytest.approx((one - other).mean(), rel=0.01)


def test_what_a_draw_does_to_both_cancels() -> None:
    rng = np.random.default_rng(1)
    of_draws = rng.normal(0, 30, size=5)
    first = [rows(v + 2, str(d), rng) for d, v in enumerate(of_draws)]
    second = [rows(v, str(d), rng) for d, v in enumerate(of_draws)]
    apart = [Rows(r.values, r.clusters, r.units, f"other {r.draw}") for r in second]
    paired, unpaired = difference(first, second), difference(first, apart)
    assert paired.value == unpaired.value
    assert paired.stderr is not None
    assert unpaired.stderr is not None
    assert unpaired.stderr > 10 * paired.stderr
    assert (unpaired.draws, unpaired.new_draw) == (0, None)


def test_draws_that_a_single_group_has_are_left_out() -> None:
    rng = np.random.default_rng(2)
    first = [rows(v, d, rng, 0.0) for d, v in (("0", 1.0), ("1", 3.0), ("2", 100.0))]
    second = [rows(0.0, d, rng, 0.0) for d in ("0", "1", "7")]
    found = difference(first, second)
    assert (found.value, found.draws, found.seeds) == (2.0, 2, (2, 2))


def test_a_row_that_no_draw_touches_is_compared_with_all_draws() -> None:
    rng = np.random.default_rng(3)
    first = [rows(float(d), str(d), rng, 0.0) for d in range(4)]
    found = difference(first, [rows(0.0, "0", rng, 0.0)])
    assert (found.value, found.draws) == (1.5, 0)
    assert found.df == 3


def test_seeds_within_a_draw_are_averaged_and_are_no_further_draws() -> None:
    rng = np.random.default_rng(4)
    first = [rows(10.0 * d + s, str(d), rng, 0.0) for d in range(3) for s in range(5)]
    second = [rows(0.0, str(d), rng, 0.0) for d in range(3) for _ in range(5)]
    found = difference(first, second)
    assert (found.value, found.draws, found.seeds) == (12.0, 3, (15, 15))
    assert found.df == 2, "three draws, not fifteen trainings"


def test_unequal_numbers_of_seeds_do_not_weigh_draws() -> None:
    rng = np.random.default_rng(5)
    replicates = [rows(0.0, "0", rng, 0.0)] * 3 + [rows(6.0, "1", rng, 0.0)]
    found = mean_interval(replicates)
    assert found is not None
    assert found.value == 3.0


def test_where_the_variance_comes_from() -> None:
    rng = np.random.default_rng(6)
    teachers, zero = rng.normal(0, 4, size=40), np.zeros(ITEMS)
    names, first, second = np.arange(ITEMS), [], []
    for d, gain in enumerate(teachers):
        for _ in range(3):
            first.append(Rows(zero + gain + rng.normal(0, 3), names, names, str(d)))
            second.append(Rows(zero + rng.normal(0, 3), names, names, str(d)))
    shares = difference(first, second).spread.shares()
    # Variances of the mean over 40 draws: teachers 16 / 40; trainings 2 * 9 / (3 * 40); no questions.
    assert shares["replicates"] == pytest.approx(16 / 40, rel=0.5)
    assert shares["seeds"] == pytest.approx(18 / 120, rel=0.3)
    assert shares["questions"] == pytest.approx(0.0, abs=1e-9)


def test_more_draws_show_a_smaller_difference() -> None:
    rng = np.random.default_rng(7)
    first = [rows(v, str(d), rng) for d, v in enumerate(rng.normal(1, 4, size=4))]
    spread = difference(first, [rows(0.0, str(d), rng) for d in range(4)]).spread
    few, many = seeds_needed(8.0, spread), seeds_needed(3.0, spread)
    assert few is not None
    assert many is not None
    assert 4 <= few < many


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12))
def test_a_new_draw_is_less_certain_than_the_mean(values: list[float]) -> None:
    low, high = prediction(np.array(values))
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    assert (low + high) / 2 == pytest.approx(np.mean(values), abs=1e-6)
    half = stats.t.ppf(0.975, len(values) - 1) * error * (len(values) + 1) ** 0.5
    assert (high - low) / 2 == pytest.approx(half, abs=1e-6)
