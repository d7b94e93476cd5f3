from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy import stats

from harness.stats import ranks
from harness.stats.spread import Floats

Formula = Callable[[ArrayLike, ArrayLike], Floats]
FORMULAS = (ranks.spearman, ranks.kendall, ranks.pairwise_accuracy)

values = st.lists(st.integers(-4, 4), min_size=3, max_size=12)  # few levels: many ties
pairs = st.integers(3, 12).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(-4, 4), min_size=n, max_size=n) for _ in range(3)))
)


def varied(*rows: list[int]) -> None:
    for row in rows:
        assume(len(set(row)) > 1)


@given(pairs)
def test_agree_with_scipy_ties_included(data: tuple[list[int], ...]) -> None:
    x, y, _ = data
    varied(x, y)
    assert float(ranks.spearman(x, y)) == pytest.approx(float(stats.spearmanr(x, y).statistic))
    assert float(ranks.kendall(x, y)) == pytest.approx(float(stats.kendalltau(x, y).statistic))
    somers = float(stats.somersd(y, x).statistic)  # pairs that differ in the outcome
    assert float(ranks.pairwise_accuracy(x, y)) == pytest.approx((1 + somers) / 2)


@given(pairs)
def test_partial_spearman_is_the_correlation_of_rank_residuals(data: tuple[list[int], ...]) -> None:
    varied(*data)
    x, y, z = (stats.rankdata(v) for v in data)
    design = np.stack([np.ones_like(z), z], axis=1)
    left_x, left_y = (v - design @ np.linalg.lstsq(design, v)[0] for v in (x, y))
    assume(min(np.ptp(left_x), np.ptp(left_y)) > 1e-6)
    expected = np.corrcoef(left_x, left_y)[0, 1]
    assert float(ranks.partial_spearman(*data)) == pytest.approx(expected, abs=1e-6)


@given(pairs)
def test_only_the_order_counts(data: tuple[list[int], ...]) -> None:
    x, y, z = (np.array(v, dtype=float) for v in data)
    for formula in FORMULAS:
        assert np.array_equal(formula(np.exp(x), y**3), formula(x, y), equal_nan=True)
    assert np.array_equal(ranks.top_1(np.exp(x), y**3), ranks.top_1(x, y))
    assert np.array_equal(ranks.regret_at_1(np.exp(x), y), ranks.regret_at_1(x, y))
    assert np.array_equal(ranks.partial_spearman(x, y, -z), ranks.partial_spearman(x, y, z), equal_nan=True)


@given(pairs)
def test_a_reversed_prediction_is_as_wrong_as_it_was_right(data: tuple[list[int], ...]) -> None:
    x, y, _ = (np.array(v) for v in data)
    assert np.array_equal(ranks.spearman(-x, y), -ranks.spearman(x, y), equal_nan=True)
    assert np.array_equal(ranks.kendall(-x, y), -ranks.kendall(x, y), equal_nan=True)
    assert np.allclose(ranks.pairwise_accuracy(-x, y), 1 - ranks.pairwise_accuracy(x, y), equal_nan=True)


@given(pairs, st.integers(0, 99))
def test_weights_are_repeats(data: tuple[list[int], ...], seed: int) -> None:
    x, y, z = (np.array(v) for v in data)
    weights = ranks.draw_weights(len(x), 5, seed)
    for k, counts in enumerate(weights.astype(int)):
        again = np.repeat(np.arange(len(x)), counts)
        for formula in (*FORMULAS, ranks.regret_at_1):
            batched, one = formula(x, y, weights)[k], formula(x[again], y[again])
            assert np.allclose(batched, one, equal_nan=True)
        partial = ranks.partial_spearman(x, y, z, weights)[k]
        assert np.allclose(partial, ranks.partial_spearman(x[again], y[again], z[again]), equal_nan=True)


@given(pairs)
def test_many_predictions_at_once_are_each_on_its_own(data: tuple[list[int], ...]) -> None:
    y, *rest = data
    for formula in (*FORMULAS, ranks.top_1, ranks.regret_at_1):
        assert np.allclose(formula(rest, y), [formula(x, y) for x in rest], equal_nan=True)


@given(values)
def test_the_best_prediction_has_no_regret(y: list[int]) -> None:
    assert float(ranks.top_1(y, y)) == pytest.approx(1)
    assert float(ranks.regret_at_1(y, y)) == 0
    assert float(ranks.regret_at_1([-v for v in y], y)) == pytest.approx(max(y) - min(y))


def test_ties_by_hand() -> None:
    outcome = [1.0, 2.0, 3.0, 3.0]
    # Five of six pairs differ in outcome; (1, 2) is tied by the prediction, the other four are right.
    assert float(ranks.pairwise_accuracy([1, 1, 2, 3], outcome)) == pytest.approx(4.5 / 5)
    assert float(ranks.top_1([0, 1, 1, 0], outcome)) == 0.5
    assert float(ranks.regret_at_1([0, 1, 1, 0], outcome)) == 0.5
    assert float(ranks.top_1([0, 0, 0, 1], outcome)) == 1  # one of two best is a best


def test_pairs_across_groups_do_not_count() -> None:
    predicted, outcome = [1, 2, 3, 4], [2, 1, 9, 8]  # groups in the right order, each reversed inside
    assert float(ranks.pairwise_accuracy(predicted, outcome)) == pytest.approx(4 / 6)
    assert float(ranks.pairwise_accuracy(predicted, outcome, groups=["a", "a", "b", "b"])) == 0
    assert np.isnan(ranks.pairwise_accuracy(predicted, outcome, groups=["a", "b", "c", "d"]))


@pytest.mark.parametrize("formula", FORMULAS)
def test_nothing_to_rank_is_undefined(formula: Formula) -> None:
    assert np.isnan(formula([1, 2, 3], [5, 5, 5]))
    if formula is not ranks.pairwise_accuracy:
        assert np.isnan(formula([5, 5, 5], [1, 2, 3]))
    assert np.isnan(ranks.partial_spearman([1, 2, 3], [1, 3, 2], [1, 2, 3]))  # the control is the prediction


def test_draws_are_seeded_and_whole() -> None:
    weights = ranks.draw_weights(7, 50, 3)
    assert np.array_equal(weights, ranks.draw_weights(7, 50, 3))
    assert not np.array_equal(weights, ranks.draw_weights(7, 50, 4))
    assert (weights.sum(axis=1) == 7).all()


@pytest.mark.parametrize("n", [6, 19])
def test_percentiles_over_drawn_items_cover(n: int) -> None:
    """Bivariate normal items with correlation 0.5, whose Spearman correlation is 6 / pi asin(0.25)."""
    rng, truth, held = np.random.default_rng(n), 6 / np.pi * np.arcsin(0.25), []
    for k in range(300):
        x = rng.normal(size=n)
        drawn = ranks.spearman(x, 0.5 * x + np.sqrt(0.75) * rng.normal(size=n), ranks.draw_weights(n, 400, k))
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        held.append(low <= truth <= high)
    assert 0.91 <= np.mean(held) <= 0.995


def test_a_draw_of_nothing_is_undefined() -> None:
    nothing = np.zeros((1, 3))
    for formula in (*FORMULAS, ranks.top_1, ranks.regret_at_1):
        assert np.isnan(formula([1, 2, 3], [1, 2, 3], nothing)).all()
