from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.stats.clustered import clustered_mean
from harness.stats.intervals import mean_interval, paired_difference, wilson
from harness.stats.spread import Floats, Rows


def rows(values: Sequence[float] | Floats, clusters: Sequence[object] | None = None) -> Rows:
    names = range(len(values)) if clusters is None else clusters
    return Rows(np.array(values, dtype=float), np.array(names), np.arange(len(values)))


numbers = st.lists(st.integers(-50, 50).map(float), min_size=3, max_size=40)


@given(numbers.filter(lambda v: len(set(v)) > 1))
def test_one_row_a_cluster_is_the_ordinary_t_interval(values: list[float]) -> None:
    found = mean_interval([rows(values)])
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_clustered_stderr_by_hand() -> None:
    # Mean 4; cluster sums of deviations: (-2 - 1) = -3 and (0 + 3) = 3; sqrt(2/1 * (9 + 9)) / 4 = 1.5.
    found = mean_interval([rows([2, 3, 4, 7], [0, 0, 1, 1])])
    assert found is not None
    assert found.value == 4
    assert found.stderr == pytest.approx(1.5)
    assert found.df == 1


def test_clusters_of_unequal_size_keep_the_mean_over_rows() -> None:
    found = mean_interval([rows([10, 1, 1, 1], ["a", "b", "b", "b"])])
    assert found is not None
    assert found.value == 3.25


@given(numbers, st.floats(-5, 5), st.sampled_from([0.5, 2.0, 100.0]))
def test_intervals_move_and_scale_with_the_values(values: list[float], shift: float, scale: float) -> None:
    before, after = (mean_interval([rows(v)]) for v in (values, (np.array(values) + shift) * scale))
    assert before is not None
    assert after is not None
    assert after.value == pytest.approx((before.value + shift) * scale, abs=1e-6)
    if before.stderr is not None and after.stderr is not None and before.stderr > 0:
        assert after.stderr == pytest.approx(before.stderr * scale, rel=1e-6)


def test_seeds_that_differ_widen_the_interval() -> None:
    items = np.random.default_rng(0).normal(size=80)
    alike = mean_interval([rows(items), rows(items), rows(items)])
    apart = mean_interval([rows(items - 1), rows(items), rows(items + 1)])
    assert alike is not None
    assert apart is not None
    assert alike.df == 79
    # Three seeds 1 apart: their own t interval, with 2 degrees of freedom, is 4.30 / sqrt(3).
    assert apart.high is not None
    assert apart.high - apart.value >= 4.30 / 3**0.5 - 0.01


def test_what_cannot_be_known_is_none() -> None:
    one_cluster = mean_interval([rows([1, 2], [0, 0])])
    all_equal = mean_interval([rows([7, 7, 7])])
    assert one_cluster is not None
    assert (one_cluster.low, one_cluster.stderr) == (None, None)
    assert all_equal is not None
    assert (all_equal.value, all_equal.low) == (7, None)
    assert mean_interval([rows([])]) is None
    assert mean_interval([]) is None


@given(st.integers(0, 60), st.integers(1, 60))
def test_wilson_of_independent_rows_is_close_to_the_textbook(hits: int, misses: int) -> None:
    total = hits + misses
    found = mean_interval([rows([1.0] * hits + [0.0] * misses)], proportion=True)
    assert found is not None
    if total < 20:
        return
    book = stats.binomtest(hits, total).proportion_ci(method="wilson")
    assert found.low == pytest.approx(book.low, abs=0.03)
    assert found.high == pytest.approx(book.high, abs=0.03)


def test_wilson_is_honest_at_the_ends() -> None:
    low, high = wilson(0.0, 0.0, 80)
    assert low == 0
    assert 0.03 < high < 0.06


def test_a_rate_with_few_hits_is_as_wide_as_that_of_hits_and_misses() -> None:
    """A sample without any hit says little, however little it varies; with many hits a rate's interval is t's."""
    nearly_none = [0.002 + 0.001 * (k % 3) for k in range(50)]
    sure, honest = mean_interval([rows(nearly_none)]), mean_interval([rows(nearly_none)], rate=True)
    hits = mean_interval([rows([0.0] * 50)], proportion=True)
    assert sure is not None
    assert honest is not None
    assert hits is not None
    assert sure.high == pytest.approx(0.003, abs=1e-3)
    assert honest.high == pytest.approx(hits.high, abs=0.01)
    many = [0.3 + 0.1 * (k % 3) for k in range(50)]
    assert mean_interval([rows(many)], rate=True) == mean_interval([rows(many)])


@given(numbers.filter(lambda v: len(set(v)) > 1))
def test_a_paired_difference_of_single_rows_is_the_paired_t_test(values: list[float]) -> None:
    other = [v * 0.5 + k % 3 for k, v in enumerate(values)]
    found = paired_difference([rows(values)], [rows(other)])
    assert found is not None
    expected = stats.ttest_rel(values, other)
    if np.ptp(np.array(values) - np.array(other)) > 0:
        assert found.p == pytest.approx(expected.pvalue, rel=1e-6)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 10_000))
def test_a_difference_changes_sign_when_the_groups_change_places(first: int, second: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = [rows(rng.normal(size=12)) for _ in range(first)]
    b = [rows(rng.normal(size=12)) for _ in range(second)]
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert there is not None
    assert back is not None
    assert there.value == pytest.approx(-back.value)
    assert there.p == pytest.approx(back.p)
    assert there.low is not None
    assert there.high is not None
    assert there.p is not None
    # The interval and the test say the same thing.
    assert (there.low > 0 or there.high < 0) == (there.p < 0.05)


def test_pairing_uses_only_what_both_have_and_averages_repeats() -> None:
    a = Rows(np.array([1.0, 3.0, 9.0]), np.array(["x", "x", "y"]), np.array(["x1", "x1", "y1"]))
    b = Rows(np.array([1.0, 5.0, 100.0]), np.array(["x", "y", "z"]), np.array(["x1", "y1", "z1"]))
    found = paired_difference([a], [b])
    assert found is not None
    assert found.clusters == 2
    assert found.value == pytest.approx((1 + 4) / 2)


def test_equal_answers_are_no_difference_and_a_constant_gap_is_no_test() -> None:
    same = paired_difference([rows([1, 2, 3])], [rows([1, 2, 3])])
    gap = paired_difference([rows([1.1, 2.1, 3.1])], [rows([1, 2, 3])])
    assert same is not None
    assert (same.value, same.p) == (0, 1.0)
    assert gap is not None
    assert (gap.p, gap.low) == (None, None)
    assert paired_difference([rows([1])], [Rows(np.array([1.0]), np.array([9]), np.array([9]))]) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-9, 9)), min_size=2, max_size=40))
def test_agrees_with_the_clustered_mean_of_the_benchmarks(drawn: list[tuple[int, int]]) -> None:
    values, clusters = [float(v) for _, v in drawn], [c for c, _ in drawn]
    found = mean_interval([rows(values, clusters)])
    mean, stderr = clustered_mean(values, clusters)
    assert found is not None
    assert found.value == pytest.approx(mean)
    if stderr is None:
        assert found.stderr is None
    else:
        groups = len(set(clusters))
        assert found.stderr == pytest.approx(stderr * (groups / (groups - 1)) ** 0.5, abs=1e-9)
