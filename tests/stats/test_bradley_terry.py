"""Bradley-Terry: the closed form, upstream's logistic regression, and who has no finite strength."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from harness.stats.bradley_terry import bradley_terry, elo
from harness.stats.spread import Floats

counts = st.integers(1, 60)


def regression_elo(wins: Floats, anchor: int = 0) -> Floats:
    """arena-hard-auto's ratings (scale 400, base 10, anchor at 1000): a logistic regression with one row per kind of
    battle, weighted by how often it was."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    rows, outcomes, weights = [], [], []
    for i, j in zip(*np.nonzero(wins), strict=True):
        row = np.zeros(len(wins))
        row[i], row[j] = math.log(10), -math.log(10)
        rows += [row, -row]
        outcomes += [1, 0]
        weights += [wins[i, j], wins[i, j]]
    fit = linear_model.LogisticRegression(fit_intercept=False, C=np.inf, tol=1e-10, max_iter=10_000)
    fit.fit(np.array(rows), np.array(outcomes), sample_weight=np.array(weights))
    ratings: Floats = 400 * (fit.coef_[0] - fit.coef_[0][anchor]) + 1000
    return ratings


def test_by_hand() -> None:
    """Three wins to one are odds of 3: ln 3, a win rate of 3/4, 400 log10 3 points above the anchor."""
    strengths = bradley_terry(np.array([[0.0, 1.0], [3.0, 0.0]]))
    assert strengths == pytest.approx([0.0, math.log(3)])
    assert expit(strengths[1]) == pytest.approx(0.75)
    assert elo(strengths) == pytest.approx([1000.0, 1000 + 400 * math.log10(3)])


@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=6), st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_against_one_baseline_the_fit_is_the_share_of_battles(scores: list[tuple[int, int]], tied: int) -> None:
    """What Arena-Hard's closed form rests on: models that met only the baseline do not touch each other's fit."""
    wins = np.zeros((len(scores) + 1, len(scores) + 1))
    for k, (won, lost) in enumerate(scores, 1):
        wins[k, 0], wins[0, k] = won + tied / 2, lost + tied / 2
    share = wins[1:, 0] / (wins[1:, 0] + wins[0, 1:])
    assert expit(bradley_terry(wins)[1:]) == pytest.approx(share, abs=1e-8)


def test_everyone_against_everyone_as_the_regression() -> None:
    rng = np.random.default_rng(3)
    wins = rng.integers(1, 40, size=(5, 5)).astype(float)
    np.fill_diagonal(wins, 0.0)
    for anchor in (0, 3):
        ours = elo(bradley_terry(wins, anchor))
        assert ours[anchor] == 1000.0
        assert ours == pytest.approx(regression_elo(wins, anchor), abs=0.01)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_at_the_fit_expected_wins_are_the_wins(seed: int) -> None:
    """The likelihood's derivative is zero: each player's wins are what the fitted rates predict."""
    wins = np.random.default_rng(seed).integers(1, 30, size=(4, 4)).astype(float)
    np.fill_diagonal(wins, 0.0)
    strengths = bradley_terry(wins)
    expected = ((wins + wins.T) * expit(strengths[:, None] - strengths[None, :])).sum(axis=1)
    assert expected == pytest.approx(wins.sum(axis=1), abs=1e-5)


def test_who_only_won_or_only_lost_has_no_finite_strength() -> None:
    wins = np.array([[0, 1, 0, 5], [2, 0, 0, 0], [7, 0, 0, 0], [0, 0, 0, 0]], dtype=float)
    strengths = bradley_terry(wins)
    assert strengths[:2] == pytest.approx([0.0, math.log(2)])
    assert np.isnan(strengths[2:]).all()
    assert np.isnan(elo(strengths)[2:]).all()


def test_indirect_wins_connect() -> None:
    """A circle of wins has a finite fit; by symmetry all are equal."""
    assert bradley_terry(np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=float)) == pytest.approx([0, 0, 0])


def test_a_large_count_beside_a_small_one() -> None:
    wins = np.array([[0.0, 1.0], [1e6, 0.0]])
    assert expit(bradley_terry(wins)[1]) == pytest.approx(1e6 / (1e6 + 1), rel=1e-9)


def test_nobody_but_the_anchor() -> None:
    assert bradley_terry(np.zeros((1, 1))).tolist() == [0.0]
    assert np.isnan(bradley_terry(np.zeros((2, 2)))[1])


@pytest.mark.parametrize("wins", [np.zeros((2, 3)), np.zeros(2), np.array([[0, -1], [1, 0]]), np.full((2, 2), np.nan)])
def test_what_are_no_counts(wins: Floats) -> None:
    with pytest.raises(ValueError, match="square matrix of finite counts"):
        bradley_terry(wins)
