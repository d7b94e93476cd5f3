"""The clustered mean against formulas worked out by hand and a simulation."""

import numpy as np
import pytest

from harness.stats.clustered import clustered_mean


def test_by_hand() -> None:
    mean, stderr = clustered_mean([1.0, 3.0, 5.0, 7.0], ["a", "a", "b", "b"])
    assert mean == 4.0
    assert stderr == pytest.approx(np.sqrt(4**2 + 4**2) / 4)  # deviations -3 -1 | 1 3


def test_one_row_per_cluster_is_the_usual_standard_error() -> None:
    values = np.array([2.0, 4.0, 9.0, 1.0])
    _, stderr = clustered_mean(values, range(4))
    assert stderr == pytest.approx(values.std() / np.sqrt(4))


def test_doubling_every_row_adds_no_information() -> None:
    values, clusters = [2.0, 4.0, 9.0], ["a", "b", "c"]
    assert clustered_mean(values * 2, clusters * 2)[1] == pytest.approx(clustered_mean(values, clusters)[1])


def test_one_cluster_says_nothing_about_others() -> None:
    assert clustered_mean([1.0, 2.0], ["a", "a"]) == (1.5, None)


def test_no_rows_or_labels_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        clustered_mean([], [])
    with pytest.raises(ValueError, match="one cluster label"):
        clustered_mean([1.0, 2.0], ["a"])


def test_it_estimates_the_spread_of_the_mean() -> None:
    """Unequal clusters with a shared part: the mean of the estimated variances is the variance of the means."""
    rng = np.random.default_rng(0)
    sizes = np.tile([1, 2, 4], 30)
    clusters = np.repeat(np.arange(90), sizes)
    means, variances = [], []
    for _ in range(800):
        values = rng.normal(size=90)[clusters] + rng.normal(size=len(clusters))
        mean, stderr = clustered_mean(values, clusters.tolist())
        assert stderr is not None
        means.append(mean)
        variances.append(stderr**2)
    assert np.mean(variances) == pytest.approx(np.var(means), rel=0.12)
