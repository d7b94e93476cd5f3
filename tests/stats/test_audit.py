"""Audited scores: against the published formula, against their definition by brute force, and at their limits."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from harness.stats.audit import FEWEST, Audited, Judged, audit, audited_difference
from harness.stats.intervals import Difference, Interval, mean_interval, paired_difference
from harness.stats.spread import Floats, Rows


def rows(values: Floats, chosen: Any = slice(None), turns: int = 1) -> Rows:
    """Rows in question order, `turns` to a question."""
    units = np.arange(len(values))
    return Rows(values[chosen], (units // turns)[chosen], units[chosen])


def judged(rng: np.random.Generator, n: int, correlation: float = 0.7) -> tuple[Floats, Floats]:
    """A live judge's and a reference's values on the same answers; the live judge is 0.4 too kind."""
    y = rng.normal(size=n)
    return correlation * y + np.sqrt(1 - correlation**2) * rng.normal(size=n) + 0.4, y


def known(live: Rows, reference: Rows) -> Audited:
    """The audit, which has enough questions."""
    result = audit(Judged(live, reference))
    assert result is not None
    return result


def known_numbers(interval: Interval | Difference) -> list[float | None]:
    """Value, bounds and standard error."""
    return [interval.value, interval.low, interval.high, interval.stderr]


def test_is_the_estimate_of_ppi_plus_plus() -> None:
    """Score, weight and standard error by the formulas of arXiv 2311.01453, whose `n` more answers are not audited."""
    f, y = judged(np.random.default_rng(1), 805)
    m, n = 200, 605
    g, rest, y = f[:m], f[m:], y[:m]
    weight = np.cov(y, g)[0, 1] / (np.var(g, ddof=1) * (1 + m / n))
    score = y.mean() + weight * (rest.mean() - g.mean())
    error = np.sqrt(np.var(y - weight * g, ddof=1) / m + weight**2 * np.var(rest, ddof=1) / n)
    ours = known(rows(f), rows(y))
    assert_allclose(ours.weight, weight * (m + n) / n, rtol=1e-12)
    assert_allclose(ours.score.value, score, rtol=1e-12)
    assert ours.score.stderr == pytest.approx(error, rel=0.03)


def test_contributions_are_those_of_leaving_a_question_out() -> None:
    """Two turns to a question, one turn of one of them not audited: the closed form against the definition."""
    values, labels = judged(np.random.default_rng(2), 80)
    ours = known(rows(values, turns=2), rows(labels, np.arange(29), turns=2))
    f = values.reshape(40, 2).mean(axis=1)
    sums, sizes = np.bincount(np.arange(29) // 2, labels[:29]), np.bincount(np.arange(29) // 2)
    y = labels[:29].mean() + (sums - sizes * labels[:29].mean()) * 15 / 29  # each question's influence on the mean

    def score(kept: np.ndarray) -> float:
        both = kept[kept < 15]
        weight = np.clip(np.cov(f[both], y[both])[0, 1] / np.var(f[both], ddof=1), 0, 1)
        return float(y[both].mean() + weight * (f[kept].mean() - f[both].mean()))

    every = np.arange(40)
    without = np.array([score(np.delete(every, question)) for question in range(40)])
    assert_allclose(ours.score.value, score(every), rtol=1e-9)
    assert ours.audited == 15
    contributions = by_question(ours.contributions)
    spread = (contributions - ours.score.value) / (without.mean() - without)
    assert_allclose(spread, spread[0], rtol=1e-7)  # the contributions are spread by one factor, for the t quantile
    assert 1 < spread[0] / 39 < 1.07


def by_question(contributions: Rows) -> Floats:
    """The contributions in the order of whole-numbered questions."""
    return contributions.values[np.argsort(contributions.clusters.astype(int))]


def test_with_all_questions_audited_it_is_the_reference_alone() -> None:
    """Score, interval and every contribution are the reference's, whatever the live judge says."""
    f, y = judged(np.random.default_rng(3), 60)
    ours, alone = known(rows(f), rows(y)), mean_interval([rows(y)])
    assert alone is not None
    assert_allclose(by_question(ours.contributions), y, rtol=1e-9)
    assert known_numbers(ours.score) == pytest.approx(known_numbers(alone))
    assert ours.effective == pytest.approx(60)


def test_battles_that_count_more_do_so_in_the_audit() -> None:
    """With all audited, the score is the reference's mean over rows, of which a question may have one or six."""
    rng = np.random.default_rng(12)
    f, y = (np.repeat(np.arange(40), rng.integers(1, 7, 40)) for _ in range(2))
    live, reference = (Rows(rng.normal(size=len(q)) + q / 10, q, q) for q in (f, y))
    assert known(live, reference).score.value == pytest.approx(reference.values.mean())


def test_a_live_judge_that_agrees_is_worth_all_its_labels() -> None:
    """Where both say the same, 20 audited questions tell as much as all 400, and the weight is 1."""
    f, _ = judged(np.random.default_rng(4), 400)
    ours = known(rows(f), rows(f, np.arange(20)))
    assert ours.weight == 1
    assert ours.score.value == pytest.approx(f.mean())
    assert ours.effective is not None
    assert 200 < ours.effective < 700


@pytest.mark.parametrize("live", ["constant", "contrary"])
def test_a_live_judge_that_tells_nothing_is_left_out(live: str) -> None:
    """The score is the mean of the audited questions, and its interval hardly wider than theirs."""
    _, y = judged(np.random.default_rng(5), 300)
    ours = known(rows(-y if live == "contrary" else np.full(300, 7.0)), rows(y, np.arange(50)))
    assert ours.weight == 0
    assert ours.score.value == pytest.approx(y[:50].mean())
    assert ours.effective == pytest.approx(50, rel=0.1)


def test_repeats_are_averaged_and_labels_of_other_units_are_not_read() -> None:
    """Twice the same verdict is the same audit; labels of an answer that the live judge did not rate say nothing."""
    f, y = judged(np.random.default_rng(6), 50)
    once = known(rows(f), rows(y, np.arange(20)))
    twice = Rows(np.tile(f, 2), np.tile(np.arange(50), 2), np.tile(np.arange(50), 2))
    units = np.append(np.arange(20), 1000)
    more = Rows(np.append(y[:20], 99.0), units, units)
    assert_allclose(known(twice, more).contributions.values, once.contributions.values)


def test_too_few_labels_are_no_audit() -> None:
    """A score from a handful of labels would have an interval that means nothing."""
    f, y = judged(np.random.default_rng(7), 50)
    assert audit(Judged(rows(f), rows(y, np.arange(FEWEST - 1)))) is None
    assert audit(Judged(rows(f), rows(y, np.arange(0)))) is None
    assert audit(Judged(rows(f), rows(y, np.arange(FEWEST)))) is not None


def test_a_scale_far_from_zero_changes_nothing() -> None:
    """Ratings near 1,000,000 have the same spread, to what a float can hold."""
    f, y = judged(np.random.default_rng(8), 100)
    near, far = known(rows(f), rows(y, np.arange(30))), known(rows(f + 1e6), rows(y + 1e6, np.arange(30)))
    assert far.weight == pytest.approx(near.weight, rel=1e-6)
    assert far.score.stderr == pytest.approx(near.score.stderr, rel=1e-6)


@pytest.mark.parametrize(("questions", "audited"), [(80, 12), (80, 40)])
def test_intervals_hold_the_truth(questions: int, audited: int) -> None:
    """Of a score and of the difference of two models audited on the same questions, at about the nominal 95 %."""
    rng = np.random.default_rng(questions + audited)
    errors = []
    for _ in range(400):
        chosen = rng.permutation(questions)[:audited]
        hard = rng.normal(size=questions)
        models = []
        for _ in range(2):
            f, y = judged(rng, questions)
            models.append(Judged(rows(f + hard), rows(y + hard, chosen)))
        one, other = models
        for interval in (known(one.live, one.reference).score, audited_difference([one], [other])):
            assert interval is not None
            assert interval.low is not None
            errors.append(abs(interval.value) / (interval.value - interval.low))
    held = (np.reshape(errors, (-1, 2)) <= 1).mean(axis=0)
    assert (held > 0.92).all()
    assert (held < 0.985).all()


def two_models(rng: np.random.Generator, questions: int, audited: int, seeds: int = 1) -> list[list[Judged]]:
    """Replicates of two models on questions of which some are hard for both; the second is 0.5 worse."""
    hard, chosen = rng.normal(size=questions), rng.permutation(questions)[:audited]
    pairs = [[judged(rng, questions) for _ in range(seeds)] for _ in range(2)]
    return [
        [Judged(rows(f + hard - 0.5 * k), rows(y + hard - 0.5 * k, chosen)) for f, y in replicates]
        for k, replicates in enumerate(pairs)
    ]


def test_a_difference_is_the_audit_of_the_differences() -> None:
    """Paired by question, value and error are those of one audit of the two models' differences."""
    first, second = two_models(np.random.default_rng(9), 120, 40)
    ours = audited_difference(first, second)
    one, other = first[0], second[0]
    places = one.reference.units
    expected = known(
        rows(one.live.values - other.live.values),
        Rows(one.reference.values - other.reference.values, places, places),
    )
    assert ours is not None
    assert known_numbers(ours) == pytest.approx(known_numbers(expected.score))


def test_with_all_questions_audited_a_difference_is_the_references() -> None:
    """Of three seeds against two, down to the terms of its spread."""
    first, second = two_models(np.random.default_rng(10), 40, 40, seeds=3)
    ours = audited_difference(first, second[:2])
    alone = paired_difference([j.reference for j in first], [j.reference for j in second[:2]])
    assert ours is not None
    assert alone is not None
    assert known_numbers(ours) == pytest.approx(known_numbers(alone))
    assert ours.p == pytest.approx(alone.p)
    assert ours.seeds == (3, 2)


def test_no_difference_without_audited_questions_in_common() -> None:
    """Nothing is paired where each model was audited on other questions."""
    first, second = two_models(np.random.default_rng(11), 40, 20)
    other = np.setdiff1d(np.arange(40), first[0].reference.units)
    elsewhere = Judged(second[0].live, Rows(second[0].reference.values, other, other))
    assert audited_difference(first, [elsewhere]) is None
    assert audited_difference(first, []) is None
