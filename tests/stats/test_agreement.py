"""Krippendorff's alpha: published examples, the definition by pairs, and its limits."""

from itertools import permutations

import numpy as np
import pytest

from harness.stats.agreement import alpha
from harness.stats.spread import Floats

NONE = np.nan
FOUR_OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
        [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
    ]
)
"""Krippendorff (2011), section C: four observers, twelve units, seven values missing."""
BINARY = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]], dtype=float)
"""The same, section A: two observers who hardly agree. With two values interval data are nominal data."""


@pytest.mark.parametrize(("verdicts", "published"), [(FOUR_OBSERVERS, 0.849), (BINARY, 0.095)])
def test_published_examples(verdicts: Floats, published: float) -> None:
    """To the digits that are printed."""
    assert alpha(verdicts) == pytest.approx(published, abs=5e-4)


def by_pairs(verdicts: Floats) -> float:
    """The definition: squared differences of ordered pairs, within units and among all pairable values."""
    units = [column[np.isfinite(column)] for column in verdicts.T if np.isfinite(column).sum() > 1]
    every = np.concatenate(units)
    within = sum(sum((a - b) ** 2 for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in units)
    among = sum((a - b) ** 2 for a, b in permutations(every, 2)) / (len(every) - 1)
    return float(1 - within / among)


@pytest.mark.parametrize("seed", range(5))
def test_the_definition(seed: int) -> None:
    """On ratings with missing verdicts."""
    rng = np.random.default_rng(seed)
    verdicts = np.round(rng.normal(size=(1, 30)) + rng.normal(size=(3, 30)), 1)
    verdicts[rng.uniform(size=verdicts.shape) < 0.2] = NONE
    assert alpha(verdicts) == pytest.approx(by_pairs(verdicts))


def test_limits() -> None:
    """Agreement is 1, opposition below 0; nothing is said where nothing varies or nothing pairs."""
    some = np.array([1.0, 5.0, 9.0])
    assert alpha(np.stack([some, some])) == 1
    value = alpha(np.stack([some, 10 - some]))
    assert value is not None
    assert value < 0
    assert alpha(np.full((2, 4), 7.0)) is None
    assert alpha(np.array([[1.0, NONE], [NONE, 2.0]])) is None
    assert alpha(np.empty((2, 0))) is None
