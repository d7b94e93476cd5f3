"""Transferred scores: the published example, the formulas by hand, and what happens where nothing can be said."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from harness.stats.spread import Floats, Rows
from harness.stats.transfer import (
    METHODS,
    PPI,
    ROGAN_GLADEN,
    TUNED,
    Labelled,
    Transferred,
    binary,
    label_sums,
    left_out,
    rogan_gladen,
    transfer,
)


def rows(values: Floats) -> Rows:
    """A value to a question."""
    places = np.arange(len(values))
    return Rows(values, places, places)


def labelled(live: Floats, reference: Floats) -> Labelled:
    """A recorded model with an answer to each question."""
    return Labelled(live, reference, np.arange(len(live)))


def test_the_published_example_of_rogan_and_gladen() -> None:
    """arXiv 2511.21140's own code on p .4, specificity .7, sensitivity .9."""
    score = rogan_gladen(0.4, 0.7, 0.9, (1000, 200, 200))
    assert score is not None
    assert_allclose([score.value, score.low, score.high], [0.1667, 0.0564, 0.2627], atol=5e-5)


def test_the_example_as_answers() -> None:
    """The same numbers as 1,000 answers and 400 labels, each on its own question: the sizes are (nearly) the counts."""
    live = np.repeat([1.0, 0.0], [400, 600])
    reference, verdicts = np.repeat([0.0, 1.0], 200), np.repeat([0.0, 1.0, 1.0, 0.0], [140, 60, 180, 20])
    labels = Labelled(verdicts, reference, 5000 + np.arange(400))
    score = transfer(rows(live), label_sums([labels]), wins=True)[ROGAN_GLADEN]
    assert_allclose([score.value, score.low, score.high], [0.1667, 0.0564, 0.2627], atol=5e-4)


@pytest.mark.parametrize(("p", "q0", "q1"), [(0.4, 0.5, 0.5), (0.4, 0.2, 0.3), (0.02, 0.6, 0.9)])
def test_a_judge_that_agrees_by_chance_or_refutes_the_assumption_gives_no_score(p: float, q0: float, q1: float) -> None:
    """Where the judge calls fewer answers wins than it errs on losses, no share of wins explains it."""
    assert rogan_gladen(p, q0, q1, (1000, 200, 200)) is None


def test_the_two_ppi_by_hand() -> None:
    """Values, and the jackknife's interval by leaving each question out."""
    rng = np.random.default_rng(3)
    merit = rng.normal(size=(3, 40)) + rng.normal(size=40)
    live, f = merit[0] + 1 + 0.5 * rng.normal(size=40), merit[1:] + 1 + 0.5 * rng.normal(size=(2, 40))
    made = transfer(rows(live), label_sums([labelled(*both) for both in zip(f, merit[1:], strict=True)]), wins=False)

    def scores(kept: np.ndarray) -> tuple[float, float]:
        g, y = f[:, kept].ravel(), merit[1:, kept].ravel()
        weight = np.clip(np.cov(y, g)[0, 1] / g.var(ddof=1), 0, 1)
        shift = live[kept].mean() - g.mean()
        return float(y.mean() + shift), float(y.mean() + weight * shift)

    places = np.arange(40)
    without = np.array([scores(places != k) for k in places])
    errors = np.sqrt(39 / 40 * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    for method, value, error in zip((PPI, TUNED), scores(places >= 0), errors, strict=True):
        half = 2.022691 * error  # t with 39 degrees of freedom
        assert_allclose([made[method].low, made[method].high], [value - half, value + half], rtol=1e-6)
    assert set(made) == {PPI, TUNED}


def test_rogan_gladen_holds_where_what_it_takes_for_alike_is() -> None:
    """A judge with one specificity and one sensitivity for all models: its mean error is not the same for all."""
    held, too_low = 0, 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        wins = [np.where(rng.uniform(size=400) < share, 1.0, 0.0) for share in (0.7, 0.1, 0.3)]
        judged = [np.where(rng.uniform(size=400) < np.where(y == 1, 0.9, 0.3), 1.0, 0.0) for y in wins]
        labels = label_sums([labelled(f, y) for f, y in zip(judged[1:], wins[1:], strict=True)])
        made = transfer(rows(judged[0]), labels, wins=True)
        held += made[ROGAN_GLADEN].low < 0.7 < made[ROGAN_GLADEN].high
        too_low += max(made[PPI].high, made[TUNED].high) < 0.7
    assert 92 <= held <= 99
    assert too_low == 100


def test_models_are_left_out_in_turn() -> None:
    """Three models of which the judge likes one by 2 more: the others' labels cannot say so."""
    rng = np.random.default_rng(7)
    merit = 5 + rng.normal(size=(3, 50))
    kindness = np.array([[1.0], [1.0], [3.0]]) + 0.1 * rng.normal(size=(3, 50))
    models = {name: labelled(y + k, y) for name, y, k in zip("abc", merit, kindness, strict=True)}
    tried = left_out(models, wins=False)
    assert list(tried) == ["a", "b", "c"]
    assert tried["c"].transferred[PPI].value == pytest.approx(tried["c"].reference + 2, abs=0.1)
    assert not tried["c"].held(PPI)
    assert tried["a"].transferred[PPI].value == pytest.approx(tried["a"].reference - 1, abs=0.1)
    assert not tried["a"].held(ROGAN_GLADEN), "a method that gave no score holds nothing"
    assert left_out({"a": models["a"]}, wins=False) == {}


def test_wins_ties_and_what_is_neither() -> None:
    """Probabilities of a win are no wins."""
    half = np.array([0.0, 0.5, 1.0])
    assert binary([labelled(half, half)])
    assert not binary([labelled(half, half), labelled(half, np.array([0.1, 0.5, 1.0]))])


def test_a_handful_of_questions_gives_no_score() -> None:
    """Of the run, or of the labels."""
    values = np.linspace(0, 1, 30)
    labels = label_sums([labelled(values, values)])
    assert transfer(rows(values[:9]), labels, wins=False) == {}
    assert transfer(rows(values), dict(list(labels.items())[:9]), wins=False) == {}
    assert set(transfer(rows(values), labels, wins=False)) <= set(METHODS)
    assert isinstance(transfer(rows(values[:20]), labels, wins=False)[TUNED], Transferred)


def test_labels_of_one_kind_give_no_rogan_gladen() -> None:
    """Without a recorded win nobody knows how often the judge sees one."""
    live, lost = np.tile([0.0, 1.0], 20), np.zeros(40)
    assert ROGAN_GLADEN not in transfer(rows(live), label_sums([labelled(live, lost)]), wins=True)
