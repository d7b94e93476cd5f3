import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.intervals import paired_difference
from harness.stats.power import items_needed, minimum_detectable_effect, seeds_needed
from harness.stats.spread import Rows, SeedTerm, Spread, Term, group_spread
from harness.stats.verdict import verdict


def rows(values: np.ndarray) -> Rows:
    return Rows(values, np.arange(len(values)), np.arange(len(values)))


def test_the_effect_is_2_8_standard_errors_when_items_are_many() -> None:
    assert minimum_detectable_effect(Spread(Term(0.01, 1e6))) == pytest.approx(0.28, abs=0.001)


def test_the_effect_is_found_with_eighty_percent_power() -> None:
    rng = np.random.default_rng(3)
    effect = minimum_detectable_effect(Spread(Term(1 / 30, 29)))
    assert effect is not None
    found = [paired_difference([rows(rng.normal(size=30) + effect)], [rows(np.zeros(30))]) for _ in range(1500)]
    power = np.mean([f is not None and f.p is not None and f.p < 0.05 for f in found])
    assert 0.77 < power < 0.83


def test_items_needed_by_the_rule_of_four() -> None:
    # Half the effect needs about four times the questions.
    spread = Spread(Term(1 / 100, 99))
    effect = minimum_detectable_effect(spread)
    assert effect is not None
    needed = items_needed(effect / 2, spread)
    assert needed is not None
    assert 390 <= needed <= 400
    assert items_needed(effect * 1.001, spread) == 100
    assert items_needed(0.0, spread) is None


def test_seeds_needed_grows_with_the_seed_noise_and_knows_when_no_number_helps() -> None:
    rng = np.random.default_rng(0)
    items = rng.normal(size=200)
    a = [rows(items + shift + 0.1 * rng.normal(size=200)) for shift in (-0.3, 0.0, 0.3)]
    b = [rows(items + shift + 0.1 * rng.normal(size=200)) for shift in (-0.3, 0.0, 0.3)]
    found = paired_difference(a, b)
    assert found is not None
    needed = seeds_needed(0.4, found.spread)
    assert needed is not None
    assert 5 < needed < 30
    more = seeds_needed(0.2, found.spread)
    assert more is not None
    assert more > needed
    # Seeds do not help against questions that disagree.
    noisy = paired_difference([rows(items), rows(items)], [rows(rng.normal(size=200))])
    assert noisy is not None
    assert seeds_needed(0.01, noisy.spread) is None
    assert seeds_needed(0.1, Spread(Term(0.1, 10))) is None


@given(
    st.integers(3, 60), st.lists(st.integers(2, 5), min_size=1, max_size=2), st.floats(0.05, 0.95), st.integers(0, 99)
)
def test_a_smaller_effect_needs_no_less(clusters: int, seeds: list[int], share: float, draw: int) -> None:
    rng = np.random.default_rng(draw)
    spread = group_spread([rng.normal(size=(s, clusters)) + rng.normal(size=(s, 1)) for s in seeds])
    detectable = minimum_detectable_effect(spread)
    assert detectable is not None
    for needed, have in ((items_needed, clusters), (seeds_needed, max(seeds))):
        numbers = [needed(detectable * s, spread) or np.inf for s in (2.0, share, share / 2)]
        assert numbers == sorted(numbers)
        assert numbers[0] >= have


def test_more_seeds_than_can_be_asked_for_are_needed_by_none() -> None:
    term = SeedTerm(Term(0.1, 200), Term(0.0, 1.0))
    assert seeds_needed(10.0, Spread(Term(0.01, 50), (term,))) is None


@pytest.mark.parametrize(
    ("value", "p", "mde", "direction", "expected"),
    [
        (0.5, 0.01, 0.4, "higher", "better"),
        (0.5, 0.01, 0.4, "lower", "worse"),
        (-0.5, 0.01, 0.4, "higher", "worse"),
        (0.1, 0.5, 0.4, "higher", "no difference shown"),
        (0.1, 0.5, 0.9, "higher", "underpowered"),
        (0.1, None, None, "higher", "not tested"),
        (0.0, 1.0, None, "higher", "no difference shown"),
    ],
)
def test_verdicts(value: float, p: float | None, mde: float | None, direction: str, expected: str) -> None:
    assert verdict(value, p, mde, 0.5, "lower" if direction == "lower" else "higher") == expected
