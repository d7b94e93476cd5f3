import numpy as np
import pytest
from scipy import stats

from harness.stats.bootstrap import bootstrap_ci


def test_agrees_with_scipy_where_every_row_is_its_own_cluster() -> None:
    values = np.random.default_rng(0).exponential(size=60)
    found = bootstrap_ci(np.arange(60), lambda k: float(np.median(values[k])), seed=1, resamples=4000)
    book = stats.bootstrap((values,), np.median, n_resamples=4000, method="BCa", rng=np.random.default_rng(1))
    assert found == pytest.approx(tuple(book.confidence_interval), abs=1e-12)


def test_rows_of_a_cluster_stay_together() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=30), 10)
    alone = bootstrap_ci(np.arange(300), lambda k: float(values[k].mean()), seed=1)
    together = bootstrap_ci(np.repeat(np.arange(30), 10), lambda k: float(values[k].mean()), seed=1)
    assert alone is not None
    assert together is not None
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])


def test_is_the_same_each_time_and_knows_when_it_cannot_know() -> None:
    values = np.arange(20.0)

    def draw(seed: int) -> tuple[float, float] | None:
        return bootstrap_ci(np.arange(20), lambda k: float(values[k].mean()), seed=seed, bias_corrected=False)

    assert draw(5) == draw(5)
    assert draw(5) != draw(6)
    assert bootstrap_ci(np.zeros(5), lambda k: 1.0, seed=0) is None
    assert bootstrap_ci(np.arange(5), lambda k: 1.0, seed=0) is None
    assert bootstrap_ci(np.array([]), lambda k: 1.0, seed=0) is None
