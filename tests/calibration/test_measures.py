"""The measures of a judge on arrays whose truth is known, and the record of a calibration."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.bench.mt_bench import MTBenchSettings
from harness.bench.recorded import mt_bench
from harness.calibration.calibration import MIN_AGREEMENT, MIN_QUESTIONS, Calibration, find, write
from harness.calibration.measures import (
    Measure,
    failures,
    first_shown,
    kappa,
    length_bias,
    order_agreement,
    order_flips,
    pearson,
    preference_agreement,
    rating_agreement,
    spearman,
    weighted_kappa,
)
from harness.core.errors import HarnessError
from tests.worlds.mt_bench import World

RATINGS = st.lists(st.tuples(st.integers(1, 10), st.integers(1, 10)), min_size=2, max_size=40)
NAN = float("nan")


def array(*values: float) -> Any:
    return np.array(values, dtype=np.float64)


def named(found: list[Measure]) -> dict[str, Measure]:
    return {m.name: m for m in found}


@given(RATINGS)
def test_correlations_are_scipys(pairs: list[tuple[int, int]]) -> None:
    x, y = (array(*values) for values in zip(*pairs, strict=True))
    if np.ptp(x) and np.ptp(y):
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)
        assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
    else:
        assert spearman(x, y) is None
        assert pearson(x, y) is None


@given(RATINGS)
def test_kappa_is_that_of_the_table(pairs: list[tuple[int, int]]) -> None:
    """Cohen's definition, with the table of all pairs of ratings and a weight for each of its cells."""
    x, y = (array(*values) for values in zip(*pairs, strict=True))
    table = np.zeros((10, 10))
    for a, b in pairs:
        table[a - 1, b - 1] += 1 / len(pairs)
    chance = np.outer(table.sum(1), table.sum(0))
    grid = np.subtract.outer(np.arange(10), np.arange(10))
    for own, weights in ((weighted_kappa, grid**2), (kappa, (grid != 0).astype(int))):
        expected = (weights * chance).sum()
        if expected > 1e-12:
            assert own(x, y) == pytest.approx(1 - (weights * table).sum() / expected, abs=1e-9)
        else:
            assert own(x, y) is None


def test_a_mean_rating_rounds_half_up() -> None:
    found = named(rating_agreement(array(6.5, 5.5, 2.4), array(7, 6, 2), np.array(["a", "b", "c"])))
    assert found["exact_agreement"].value == 1


def test_a_strict_judge_orders_well_and_agrees_badly() -> None:
    rng = np.random.default_rng(0)
    reference = rng.integers(4, 11, 60).astype(float)
    found = named(rating_agreement(reference - 3, reference, np.arange(60)))
    assert found["spearman"].value == 1
    assert found["kappa"].value is not None
    assert found["kappa"].value < 0.5
    assert found["mean_difference"].value == -3
    assert found["exact_agreement"].value == 0


def test_chance_has_an_interval_around_zero_and_real_agreement_one_above() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(1, 11, 160).astype(float)
    questions = np.repeat(np.arange(80), 2)
    noise = named(rating_agreement(rng.permutation(truth), truth, questions))["spearman"]
    blurred = array(*np.clip(truth + rng.normal(0, 2, 160), 1, 10))
    near = named(rating_agreement(blurred, truth, questions))["spearman"]
    assert noise.low is not None
    assert noise.high is not None
    assert near.low is not None
    assert noise.low < 0 < noise.high
    assert near.low > MIN_AGREEMENT
    assert (near.n, near.clusters) == (160, 80)


def test_failed_verdicts_are_in_the_total_and_in_no_mean() -> None:
    ours, truth = array(1, NAN, 5, 9), array(1, 4, 5, NAN)
    questions = np.array(list("abcd"))
    found = named(rating_agreement(ours, truth, questions))
    assert (found["spearman"].n, found["spearman"].total) == (2, 3)
    assert found["mean_absolute_difference"].value == 0
    assert failures(ours, questions).value == 0.25
    nothing = named(rating_agreement(array(NAN, NAN), array(1, 2), np.array(["a", "b"])))
    assert {m.value for m in nothing.values()} == {None}
    assert {m.n for m in nothing.values()} == {0}


def test_a_constant_judge_has_no_correlation_and_no_agreement_beyond_chance() -> None:
    found = named(rating_agreement(np.full(20, 5.0), array(*range(1, 11), *range(1, 11)), np.arange(20)))
    assert found["spearman"].value is None
    assert found["pearson"].value is None
    assert found["kappa"].value == 0


def test_which_of_two_models_is_better() -> None:
    models, units = np.array(["a", "b"] * 3), np.array([1, 1, 2, 2, 3, 3])
    truth = array(9, 3, 8, 8, 2, 6)
    found = named(order_agreement(array(7, 5, 1, 2, 9, 1), truth, units, units, models))
    assert (found["pair_agreement"].value, found["pair_agreement"].n, found["pair_agreement"].total) == (0.5, 2, 2)
    assert found["model_order"].value == 1
    ties = named(order_agreement(np.full(6, 4.0), truth, units, units, models))
    assert (ties["pair_agreement"].value, ties["pair_agreement"].n) == (None, 0)
    assert ties["model_order"].value == 0, "a tie is not the same order"


def test_a_judge_that_loves_length() -> None:
    found = named(length_bias(array(5, 6, 7, NAN), array(6, 8, 7, 9), np.array(list("abcd"))))
    assert found["padding_gain"].value == 1
    assert found["padding_wins"].value == pytest.approx(2 / 3)
    assert found["padding_loses"].value == 0
    assert (found["padding_gain"].n, found["padding_gain"].total) == (3, 4)


def test_a_judge_that_loves_the_first_place() -> None:
    items = np.arange(30)
    flips = order_flips(np.ones(30), np.zeros(30), items)
    first = first_shown(np.ones(60), np.repeat(items, 2))
    assert flips.value == 1
    assert first.value == 1
    assert first.low is not None
    assert first.low > 0.8
    fair = first_shown(np.array([1.0, 0.0] * 30), np.repeat(items, 2))
    assert fair.value == 0.5
    ties = first_shown(np.full(4, 0.5), np.arange(4))
    assert (ties.value, ties.n, ties.total) == (None, 0, 4)


def test_preferences() -> None:
    truth = array(1, 0, 0.5, 1, 0, 1)
    same = named(preference_agreement(truth, truth, np.arange(6)))
    assert same["kappa"].value == pytest.approx(1)
    assert same["exact_agreement"].value == 1
    shares = named(preference_agreement(array(0.9, 0.2, 0.5, 0.6, 0.4, 0.7), truth, np.arange(6)))
    assert shares["kappa"].value == pytest.approx(1), "a probability is for the side that it leans to"
    turned = named(preference_agreement(1 - truth, truth, np.arange(6)))
    assert turned["kappa"].value is not None
    assert turned["kappa"].value < 0


def calibration(
    value: float | None, low: float | None, high: float | None, *more: Measure, **changed: Any
) -> Calibration:
    headline = Measure("spearman", "all", value, low, high, 320, 320, changed.pop("clusters", 80))
    facts = {"digest": "d", "judge": "tiny", "protocol": "rating", "benchmark": "mt_bench", "form": "rating"}
    facts |= {"reference": "gpt-4", "date": "2026-11-21T08:00:00+00:00"} | changed
    return Calibration(measures=(headline, *more), models={}, cost={}, data={}, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "low", "clusters", "informative"),
    [
        (0.41, 0.30, 80, True),
        (0.41, -0.02, 80, False),
        (0.29, 0.20, 80, False),
        (None, None, 80, False),
        (1.0, None, 80, True),
        (0.9, 0.5, MIN_QUESTIONS - 1, False),
    ],
)
def test_when_a_judge_is_informative(value: float | None, low: float | None, clusters: int, informative: bool) -> None:
    assert calibration(value, low, 0.95 if low is not None else None, clusters=clusters).informative is informative


def test_a_judge_that_counts_characters_is_uninformative(mt_bench_world: World) -> None:
    """Where longer answers are rated a little higher its correlation is above 0 for certain: the floor is higher."""
    settings = MTBenchSettings.model_validate_json(json.dumps({"data": str(mt_bench_world.data)}))
    lengths, ratings, questions = [], [], []
    for model in mt_bench(settings, None, None).models:
        turns = {a.id: a.turns for a in model.answers}
        for (item, turn), rating in model.verdicts.items():
            lengths.append(len(turns[item][turn - 1] or ""))
            ratings.append(rating)
            questions.append(item)
    found = named(rating_agreement(array(*lengths), array(*ratings), np.array(questions)))["spearman"]
    assert found.n == 320
    assert found.value == pytest.approx(stats.spearmanr(*lengths_and_ratings(mt_bench_world)).statistic, abs=1e-9)
    assert found.low is not None
    assert found.value is not None
    assert 0 < found.low < found.value < MIN_AGREEMENT
    assert (found.low, found.high) == pytest.approx(RESAMPLED[next(iter(mt_bench_world.averages))], abs=0.02)
    assert not calibration(found.value, found.low, found.high).informative


RESAMPLED = {"heron": (0.127, 0.310), "mistral-orpo-trl": (0.050, 0.344)}
"""By a world's first model: where 95 % of the correlations lie over 2,000 draws of the questions, ranked anew."""


def lengths_and_ratings(world: World) -> tuple[list[int], list[float]]:
    """Characters of each rated answer and its rating, read line by line."""

    def read(path: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    said = {
        (model, line["question_id"]): line["choices"][0]["turns"]
        for model in world.averages
        for line in read(world.answers(model))
    }
    rated = read(world.judgments)
    return [len(said[v["model"], v["question_id"]][v["turn"] - 1]) for v in rated], [v["score"] for v in rated]


def test_the_note_beside_a_score() -> None:
    known = calibration(0.412, 0.301, 0.512)
    assert known.note == "Spearman 0.41 [0.30, 0.51] with gpt-4 on 320 verdicts, 2026-11-21"
    gain = Measure("padding_gain", "all", 0.8, 0.5, 1.1, 320, 320, 80)
    first = Measure("first_shown_wins", "all", 0.81, 0.7, 0.9, 300, 320, 80)
    biased = calibration(0.412, 0.301, 0.512, gain, first)
    assert biased.note.endswith("; padding an answer gains 0.80; prefers the answer shown first (81%)")
    assert "too few questions to tell (3)" in calibration(0.9, 0.5, 1.0, clusters=3).note
    silent = replace(known, measures=(Measure("spearman", "all", None, None, None, 0, 320, 0),))
    assert silent.note.startswith("Spearman unknown (no verdict) with gpt-4 on 0 of 320 verdicts")
    unsure = replace(gain, low=-0.1)
    assert calibration(0.412, 0.301, 0.512, unsure).note == known.note


def test_the_record_comes_back_as_it_was(tmp_path: Path) -> None:
    known = calibration(0.412, 0.301, 0.512, digest="abc")
    write(tmp_path / "c" / "abc.json", known)
    assert find(tmp_path / "c", "abc") == known
    assert find(tmp_path / "c", "other") is None
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["abc.json"], "nothing half-written is left"
    facts = json.loads((tmp_path / "c" / "abc.json").read_text())
    assert facts["note"] == known.note
    assert facts["informative"] is True


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"measures": [{"x": 1}]}'])
def test_a_record_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "abc.json").write_text(text)
    with pytest.raises(HarnessError, match="calibrate again") as fault:
        find(tmp_path, "abc")
    assert "abc.json" in fault.value.where


def test_a_number_that_is_none_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write(tmp_path / "abc.json", calibration(NAN, None, None))
    assert list(tmp_path.iterdir()) == []
