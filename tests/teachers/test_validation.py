from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.core.errors import HarnessError
from harness.teachers.validation import COLUMNS, MEAN, STATISTICS, validate

TEACHERS = [f"t{k}" for k in range(8)]
NOTHING = pd.DataFrame(columns=["student", "teacher", "score", "value", "direction"])
META = pd.DataFrame(
    {
        "teacher": TEACHERS,
        "family": ["a"] * 4 + ["b"] * 4,
        "size_b": [1.0, 3, 7, 70, 2, 9, 27, 72],
        "strength": [10.0, 20, 30, 40, 15, 25, 35, 45],
        "length": [100.0, 300, 200, 250, 120, 310, 240, 90],
    }
)


def outcomes(values: Mapping[str, Sequence[float | None]]) -> pd.DataFrame:
    rows = [(s, t, v) for s, row in values.items() for t, v in zip(TEACHERS, row, strict=False)]
    return pd.DataFrame(rows, columns=["student", "teacher", "value"]).astype({"value": "float64"})


def scores(name: str, values: Mapping[str, Sequence[float | None]], direction: str = "higher") -> pd.DataFrame:
    return outcomes(values).assign(score=name, direction=direction)


RNG = np.random.default_rng(0)
TRUTH = {s: list(np.arange(8) + RNG.normal(size=8)) for s in ("small", "big")}
OUTCOMES = outcomes(TRUTH)


def one(frame: pd.DataFrame, score: str, statistic: str, student: str = MEAN) -> pd.Series:
    found = frame[(frame["score"] == score) & (frame["statistic"] == statistic) & (frame["student"] == student)]
    assert len(found) == 1
    return found.iloc[0]


def test_every_score_and_baseline_has_every_row() -> None:
    frame = validate(scores("car", TRUTH), OUTCOMES, META, resamples=50)
    assert list(frame.columns) == list(COLUMNS)
    names = ["car", "size", "length", "strength", "reward", "leave_one_student_out", "random"]
    assert list(frame["score"].unique()) == names
    assert len(frame) == len(names) * len(STATISTICS) * 3
    assert not frame.duplicated(["score", "student", "statistic"]).any()
    assert frame.groupby("score")["baseline"].first().to_dict() == {n: n != "car" for n in names}


def test_values_agree_with_scipy() -> None:
    noisy = {s: list(np.array(v) + RNG.normal(scale=3, size=8)) for s, v in TRUTH.items()}
    frame = validate(scores("noisy", noisy), OUTCOMES, META, resamples=50)
    rho = [float(stats.spearmanr(noisy[s], TRUTH[s]).statistic) for s in TRUTH]
    tau = [float(stats.kendalltau(noisy[s], TRUTH[s]).statistic) for s in TRUTH]
    for k, student in enumerate(TRUTH):
        assert one(frame, "noisy", "spearman", student)["value"] == pytest.approx(rho[k])
        picked = TRUTH[student][int(np.argmax(noisy[student]))]
        assert one(frame, "noisy", "regret_at_1", student)["value"] == pytest.approx(max(TRUTH[student]) - picked)
    assert one(frame, "noisy", "spearman")["value"] == pytest.approx(np.mean(rho))
    assert one(frame, "noisy", "kendall")["value"] == pytest.approx(np.mean(tau))
    assert one(frame, "noisy", "pairwise_accuracy")["value"] == pytest.approx((1 + np.mean(tau)) / 2)


def test_direction_turns_a_score_round() -> None:
    negative = {s: [-v for v in row] for s, row in TRUTH.items()}
    right = validate(scores("loss", negative, "lower"), OUTCOMES, META, resamples=50)
    wrong = validate(scores("loss", negative, "higher"), OUTCOMES, META, resamples=50)
    assert one(right, "loss", "spearman")["value"] == pytest.approx(1)
    assert one(wrong, "loss", "spearman")["value"] == pytest.approx(-1)
    assert one(right, "loss", "top_1")["value"] == 1
    assert one(right, "loss", "regret_at_1")["value"] == 0


def test_intervals_hold_the_value_and_are_seeded() -> None:
    noisy = scores("noisy", {s: list(np.array(v) + RNG.normal(scale=3, size=8)) for s, v in TRUTH.items()})
    frame = validate(noisy, OUTCOMES, META, seed=1)
    for statistic in ("spearman", "kendall", "pairwise_accuracy", "spearman_given_length"):
        row = one(frame, "noisy", statistic)
        assert row["low"] < row["value"] < row["high"]
    assert frame.equals(validate(noisy, OUTCOMES, META, seed=1))
    assert not frame.equals(validate(noisy, OUTCOMES, META, seed=2))
    assert frame[["prompt_low", "prompt_high"]].isna().all(axis=None)


def test_resampled_prompts_give_a_second_interval_in_the_scores_direction() -> None:
    noise = np.random.default_rng(3).normal(scale=0.5, size=(200, 16))
    loss = scores("loss", {s: [-v for v in row] for s, row in TRUTH.items()}, "lower")
    loss["resamples"] = [loss["value"].iloc[k] + noise[:, k] for k in range(16)]
    row = one(validate(loss, OUTCOMES, META, resamples=50), "loss", "spearman")
    drawn = -(loss["value"].to_numpy() + noise)
    each = [
        (stats.spearmanr(d[:8], TRUTH["small"]).statistic + stats.spearmanr(d[8:], TRUTH["big"]).statistic) / 2
        for d in drawn
    ]
    assert [row["prompt_low"], row["prompt_high"]] == pytest.approx(list(np.quantile(each, [0.025, 0.975])))
    partly = loss.copy()
    partly["resamples"] = loss["resamples"].where(loss.index > 0)
    frame = validate(partly, OUTCOMES, META, resamples=50)
    assert np.isnan(one(frame, "loss", "spearman", "small")["prompt_low"])
    assert one(frame, "loss", "spearman", "big")["prompt_low"] < 1
    assert np.isnan(one(frame, "loss", "spearman")["prompt_low"])  # not a mean over fewer bases than the value's


def test_leave_one_student_out_ranks_by_the_other_bases() -> None:
    three = TRUTH | {"other": list(RNG.normal(size=8))}
    frame = validate(NOTHING, outcomes(three), META, resamples=50)
    others = np.mean([three["small"], three["other"]], axis=0)
    expected = stats.spearmanr(others, three["big"]).statistic
    assert one(frame, "leave_one_student_out", "spearman", "big")["value"] == pytest.approx(expected)
    alone = validate(NOTHING, outcomes({"small": TRUTH["small"]}), META, resamples=50)
    row = one(alone, "leave_one_student_out", "spearman", "small")
    assert np.isnan(row["value"])
    assert row["note"] == "needs a second student base"


def test_random_is_what_chance_gives() -> None:
    frame = validate(NOTHING, OUTCOMES, META, resamples=4000)
    assert one(frame, "random", "spearman")["value"] == 0
    assert one(frame, "random", "pairwise_accuracy")["value"] == pytest.approx(0.5)
    assert one(frame, "random", "top_1")["value"] == pytest.approx(1 / 8)
    assert one(frame, "random", "regret_at_1", "big")["value"] == pytest.approx(
        max(TRUTH["big"]) - np.mean(TRUTH["big"])
    )
    row = one(frame, "random", "spearman", "big")
    critical = 0.738  # the two-sided 5 % point of Spearman's rho for n = 8, from tables
    assert (row["low"], row["high"]) == pytest.approx((-critical, critical), abs=0.05)


def test_length_and_family_are_taken_out() -> None:
    meta = META.assign(length=TRUTH["small"])  # outcome is length, and so is the score, but for noise
    by_length = scores("long", {"small": list(np.array(TRUTH["small"]) ** 3), "big": list(RNG.normal(size=8))})
    frame = validate(by_length, OUTCOMES, meta, resamples=50)
    assert one(frame, "long", "spearman", "small")["value"] == pytest.approx(1)
    row = one(frame, "long", "spearman_given_length", "small")
    assert np.isnan(row["value"])
    assert row["note"] == "nothing is left once the control is taken out"

    families = scores("family", {s: [0, 0, 0, 0, 1, 1, 1, 1] for s in TRUTH})
    frame = validate(families, outcomes({s: list(range(8)) for s in TRUTH}), META, resamples=50)
    assert one(frame, "family", "pairwise_accuracy")["value"] > 0.7
    assert one(frame, "family", "pairwise_accuracy_within_family")["value"] == 0.5  # all ties inside
    alone = validate(families, OUTCOMES, META.drop(columns="family"), resamples=50)
    assert "no two teachers of one family" in one(alone, "family", "pairwise_accuracy_within_family")["note"]


def test_a_length_score_serves_as_control_where_meta_has_none() -> None:
    length = scores("length", {s: list(META["length"]) for s in TRUTH})
    car = scores("car", {s: list(RNG.normal(size=8)) for s in TRUTH})
    given = validate(pd.concat([car, length]), OUTCOMES, META.drop(columns="length"), resamples=50)
    meta = validate(car, OUTCOMES, META, resamples=50)
    for frame in (given, meta):
        assert len(frame[frame["score"] == "length"]) == len(STATISTICS) * 3
    first, second = (one(f, "car", "spearman_given_length")["value"] for f in (given, meta))
    assert first == pytest.approx(second)
    nothing = validate(car, OUTCOMES, META.assign(length=META["length"].where(META.index > 0)), resamples=50)
    assert one(nothing, "car", "spearman_given_length", "big")["note"] == "no response length of 1 of 8 teachers"


def test_missing_outcomes_and_scores_are_counted() -> None:
    truth: dict[str, Sequence[float | None]] = {"small": [None, *TRUTH["small"][1:]], "big": TRUTH["big"][:7]}
    partial: dict[str, Sequence[float | None]] = {"small": TRUTH["small"], "big": [*TRUTH["big"][:6], None, 1.0]}
    frame = validate(scores("car", partial), outcomes(truth), META, resamples=50)
    columns = ["n", "total", "no_score", "no_outcome", "null_runs"]
    assert one(frame, "car", "spearman", "small")[columns].tolist() == [7, 8, 0, 1, 1]
    assert one(frame, "car", "spearman", "big")[columns].tolist() == [6, 8, 1, 1, 0]
    assert one(frame, "car", "spearman")[columns].tolist() == [6, 8, 1, 1, 0]
    # Ranked by the other base, a teacher needs an outcome there too.
    assert one(frame, "leave_one_student_out", "spearman", "big")["n"] == 6


def test_a_base_without_outcomes_is_said() -> None:
    frame = validate(scores("car", TRUTH), outcomes({"big": TRUTH["big"]}), META, resamples=50)
    row = one(frame, "car", "spearman", "small")
    assert np.isnan(row["value"])
    assert (row["n"], row["no_outcome"]) == (0, 8)
    three = pd.concat([scores("car", TRUTH), scores("car", {"third": TRUTH["big"]})])
    others = validate(three, OUTCOMES, META, resamples=50)
    assert one(others, "leave_one_student_out", "spearman", "big")["n"] == 8  # by `small`; `third` was not trained
    mean = one(frame, "car", "spearman")
    assert mean["value"] == one(frame, "car", "spearman", "big")["value"]
    assert mean["note"].startswith("1 of 2 student bases; fewer than 3 teachers")


def test_seeds_are_averaged_and_failed_runs_counted() -> None:
    runs = pd.concat([OUTCOMES.assign(seed=0, value=OUTCOMES["value"] - 1), OUTCOMES.assign(seed=1)])
    runs = pd.concat([runs, OUTCOMES.assign(seed=2, value=None)]).astype({"value": "float64"})
    frame = validate(scores("car", TRUTH), runs, META, resamples=50)
    row = one(frame, "car", "regret_at_1", "small")
    assert (row["value"], row["n"], row["null_runs"]) == (0, 8, 8)


def test_equal_means_are_a_tie_whatever_their_rounding() -> None:
    runs = pd.DataFrame(
        [
            ("s", t, k, v)
            for t, row in zip("abc", ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.7, 0.8, 0.9]), strict=True)
            for k, v in enumerate(row)
        ],
        columns=["student", "teacher", "seed", "value"],
    )
    ranked = scores("car", {"s": [1, 2, 3]}).assign(teacher=list("abc"))
    row = one(validate(ranked, runs, META, resamples=50), "car", "pairwise_accuracy", "s")
    assert row["value"] == 1  # a and b are equal: no pair to get right
    reversed_ = scores("car", {"s": [2, 1, 3]}).assign(teacher=list("abc"))
    assert one(validate(reversed_, runs, META, resamples=50), "car", "pairwise_accuracy", "s")["value"] == 1


@pytest.mark.parametrize(
    ("score", "truth", "note"),
    [
        ([1, 2], [1, 2], "fewer than 3 teachers"),
        ([1, 1, 1, 1], [1, 2, 3, 4], "the score is the same for all teachers"),
        ([1, 2, 3, 4], [1, 1, 1, 1], "all outcomes are equal"),
    ],
)
def test_what_is_undefined_is_null_with_a_reason(score: list[float], truth: list[float], note: str) -> None:
    frame = validate(scores("car", {"s": score}), outcomes({"s": truth}), META, resamples=50)
    rows = frame[frame["score"] == "car"]
    assert rows[["value", "low", "high"]].isna().all(axis=None)
    assert rows["note"].str.contains(note).all()


def test_few_teachers_or_no_spread_have_no_interval() -> None:
    few = validate(scores("car", {"s": [1, 3, 2, 4]}), outcomes({"s": [1, 2, 3, 4]}), META, resamples=50)
    row = one(few, "car", "spearman", "s")
    assert (row["value"], row["note"]) == (pytest.approx(0.8), "no interval: fewer than 6 teachers")
    assert np.isnan(row["low"])
    row = one(validate(scores("car", TRUTH), OUTCOMES, META, resamples=50), "car", "spearman")
    assert np.isnan(row["low"])
    assert row["note"] == "no interval: the draws of teachers all agree, or most are undefined"


def test_row_order_does_not_matter() -> None:
    car = scores("car", {s: list(RNG.normal(size=8)) for s in TRUTH})
    shuffled = OUTCOMES.sample(frac=1, random_state=0)
    key = ["score", "student", "statistic"]
    first = validate(car, OUTCOMES, META, resamples=200).sort_values(key, ignore_index=True)
    again = validate(car.sample(frac=1, random_state=1), shuffled, META[::-1], resamples=200)
    pd.testing.assert_frame_equal(again.sort_values(key, ignore_index=True), first)


def test_faults_are_named() -> None:
    car = scores("car", TRUTH)
    with pytest.raises(HarnessError, match="no column direction"):
        validate(car.drop(columns="direction"), OUTCOMES, META)
    with pytest.raises(HarnessError, match="student small, teacher t0, score car occurs twice"):
        validate(pd.concat([car, car.head(1)]), OUTCOMES, META)
    with pytest.raises(HarnessError, match="outcomes: student small, teacher t0 occurs twice"):
        validate(car, pd.concat([OUTCOMES, OUTCOMES.head(1)]), META)
    with pytest.raises(HarnessError, match="meta: teacher t0 occurs twice"):
        validate(car, OUTCOMES, pd.concat([META, META.head(1)]))
    with pytest.raises(HarnessError, match="an infinite value"):
        validate(car.assign(value=np.inf), OUTCOMES, META)
    with pytest.raises(HarnessError, match="score car: direction up"):
        validate(car.assign(direction="up"), OUTCOMES, META)
    with pytest.raises(HarnessError, match="direction higher, lower"):
        validate(car.assign(direction=["higher", "lower"] * 8), OUTCOMES, META)
    with pytest.raises(HarnessError, match="a score named random"):
        validate(scores("random", TRUTH), OUTCOMES, META)
    with pytest.raises(HarnessError, match="cannot be called 'mean'"):
        validate(NOTHING, outcomes({"mean": TRUTH["big"]}), META)
    with pytest.raises(HarnessError, match="2 resamples for one teacher and 3 for another"):
        validate(car.assign(resamples=pd.Series([np.ones(2)] + [np.ones(3)] * 15)), OUTCOMES, META)
