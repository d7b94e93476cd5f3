import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.stats.multiplicity import holm

probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def test_holm_by_hand() -> None:
    # 0.01 * 4, 0.02 * 3, then 0.03 * 2 = 0.06 (a tie with the step before), 0.5 * 1.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])


@given(probabilities)
def test_holm_lies_between_the_raw_p_and_bonferroni(p: list[float]) -> None:
    for raw, adjusted in zip(p, holm(p), strict=True):
        assert adjusted is not None
        assert raw <= adjusted <= min(1.0, raw * len(p)) + 1e-12


@given(probabilities)
def test_holm_keeps_the_order_and_is_stricter_than_benjamini_hochberg(p: list[float]) -> None:
    adjusted = [a or 0.0 for a in holm(p)]
    order = np.argsort(p, kind="stable")
    assert all(np.diff(np.array(adjusted)[order]) >= 0)
    assert all(h >= b - 1e-12 for h, b in zip(adjusted, stats.false_discovery_control(p), strict=True))


def test_what_was_not_tested_is_not_counted() -> None:
    assert holm([0.01, None, 0.02]) == [0.02, None, 0.02]
    assert holm([]) == []
    assert holm([None]) == [None]
