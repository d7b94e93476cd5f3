import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from harness.core.errors import HarnessError
from harness.teachers import panel
from harness.teachers.leaderboard import COLUMNS, leaderboard
from harness.teachers.panel import build_panels, rank_teachers, resample_weights
from harness.teachers.parts import counts
from tests.teachers.tables import parts_of, random_parts, rewards, settings, table

ALL = settings()


def row(board: pd.DataFrame, teacher: str, score: str, student: str = "base") -> pd.Series:
    found = board[(board["teacher"] == teacher) & (board["score"] == score) & (board["student"] == student)]
    assert len(found) == 1
    return found.iloc[0]


def three_teachers() -> pd.DataFrame:
    """On two bases: t0 answered all three prompts, t1 the first two (one with an empty response), t2 nothing well."""
    data = {
        "t0": (table({"a": [-1], "b": [-2], "c": [-30]}), rewards(a=5, b=3, c=1)),
        "t1": (table({"a": [-2], "b": [-4]}, unscored={"c": "empty"}), rewards(a=9, b=7)),
        "t2": (table({}, unscored={"a": "empty", "b": "no room"}), rewards()),
    }
    return pd.concat([parts_of(data, ALL, "base"), parts_of(data, ALL, "other")], ignore_index=True)


def test_values_over_the_common_prompts() -> None:
    board = leaderboard(three_teachers(), ALL, resamples=50)
    assert list(board.columns) == list(COLUMNS)
    first = row(board, "t0", "loss")
    assert first["value"] == 1.5  # of a and b: c is not common
    assert (first["rank"], first["n"], first["total"]) == (1, 2, 3)
    assert (first["unit"], first["direction"]) == ("nats/token", "lower")
    assert row(board, "t1", "reward")["value"] == 8
    assert row(board, "t1", "reward")["rank"] == 1
    assert row(board, "t1", "car")["value"] == 8 / (1 + 3)


def test_each_on_its_own_prompts() -> None:
    board = leaderboard(three_teachers(), settings(common=False), resamples=50)
    assert row(board, "t0", "loss")["value"] == 11
    assert row(board, "t0", "loss")["n"] == 3
    assert row(board, "t1", "loss")["value"] == 3
    assert row(board, "t1", "loss")["rank"] == 1


def test_a_teacher_without_scored_responses_is_shown_without_a_value() -> None:
    board = leaderboard(three_teachers(), ALL, resamples=50)
    for student in ("base", "other", "overall"):
        nothing = row(board, "t2", "loss", student)
        assert nothing[["value", "low", "high", "rank", "rank_low", "rank_high", "first"]].isna().all()
        assert nothing["n"] == 0


def test_counts_say_what_became_of_every_prompt() -> None:
    found = counts(three_teachers().assign(cut=lambda f: f["id"] == "a", refusal=lambda f: f["id"] != "c"))
    found = found[found["student"] == "base"].set_index("teacher").drop(columns="student")
    expected = {
        "t0": {"prompts": 3, "scored": 3, "missing": 0, "empty": 0, "other": 0, "cut": 1, "refused": 2, "common": 2},
        "t1": {"prompts": 3, "scored": 2, "missing": 0, "empty": 1, "other": 0, "cut": 1, "refused": 2, "common": 2},
        "t2": {"prompts": 3, "scored": 0, "missing": 1, "empty": 1, "other": 1, "cut": 0, "refused": 0, "common": 2},
    }
    assert found.to_dict("index") == expected
    assert counts(three_teachers())["refused"].isna().all()


def test_an_unscored_prompt_changes_the_total_and_no_value() -> None:
    parts = random_parts(3, 20)
    more = pd.DataFrame({"student": "base", "teacher": "t01", "id": ["zz"], "status": "no reward", "cut": False})
    before = leaderboard(parts, ALL, resamples=50)
    after = leaderboard(pd.concat([parts, more]), ALL, resamples=50)
    pd.testing.assert_series_equal(before["value"], after["value"])
    base = after["student"] == "base"
    assert (after.loc[base, "n"] == 20).all()
    assert (after.loc[base, "total"] == 21).all()


def naive(parts: pd.DataFrame, score: str, seed: int, resamples: int) -> pd.DataFrame:
    """The bootstrap as one would write it down: draw prompts, average, rank."""
    prompts = sorted(parts["id"].unique())
    teachers = sorted(parts["teacher"].unique())
    column = parts.pivot_table(index="id", columns="teacher", values=f"{score}.0").loc[prompts, teachers].to_numpy()
    weights = np.concatenate(list(resample_weights(len(prompts), resamples, seed))).astype(int)
    drawn = np.array([column[np.repeat(np.arange(len(prompts)), w)].mean(axis=0) for w in weights])
    ranks = np.array([stats.rankdata(-means) for means in drawn])
    return pd.DataFrame(
        {
            "low": np.percentile(drawn, 2.5, axis=0),
            "high": np.percentile(drawn, 97.5, axis=0),
            "rank_low": np.percentile(ranks, 2.5, axis=0, method="inverted_cdf"),
            "rank_high": np.percentile(ranks, 97.5, axis=0, method="inverted_cdf"),
            "first": (ranks == 1).mean(axis=0),
        },
        index=teachers,
    )


def test_the_bootstrap_is_the_plain_one() -> None:
    parts = random_parts(5, 12, noise=2.0)
    board = leaderboard(parts, ALL, seed=3, resamples=300)
    expected = naive(parts, "reward", 3, 300)
    assert expected["first"].between(0.01, 0.99).any()
    for teacher, bounds in expected.iterrows():
        found = row(board, str(teacher), "reward")[list(expected.columns)]
        np.testing.assert_allclose(found.to_numpy(dtype=float), bounds.to_numpy(), rtol=1e-12)


def test_the_interval_is_that_of_a_mean() -> None:
    parts = random_parts(1, 400)
    found = row(leaderboard(parts, ALL, resamples=4000), "t00", "reward")
    reach = 1.96 * parts["reward.0"].std() / 20
    assert found["high"] - found["value"] == pytest.approx(reach, rel=0.08)
    assert found["value"] - found["low"] == pytest.approx(reach, rel=0.08)


def test_pairing_sees_what_separate_intervals_do_not() -> None:
    rng = np.random.default_rng(0)
    hard = 10 * rng.normal(size=50)
    parts = random_parts(2, 50)
    parts["reward.0"] = np.concatenate([100 + hard, 100.2 + hard])
    board = leaderboard(parts, ALL)
    worse, better = row(board, "t00", "reward"), row(board, "t01", "reward")
    assert worse["high"] > better["value"]  # each interval alone is wide
    assert better["first"] == 1
    assert (better["rank_low"], better["rank_high"]) == (1, 1)


def test_equal_teachers_share_their_rank_and_the_first_place() -> None:
    parts = random_parts(3, 31)
    twin = parts[parts["teacher"] == "t02"].assign(teacher="twin")
    board = leaderboard(pd.concat([parts, twin]), ALL, resamples=200)
    for score in ("reward", "loss", "car"):
        one, other = row(board, "t02", score), row(board, "twin", score)
        assert one["rank"] == other["rank"] == one["rank_low"] == 1.5
        assert one["first"] == other["first"]
        own = board[(board["score"] == score) & (board["student"] == "base")]
        assert own["first"].sum() == pytest.approx(1)


def test_ranks_and_their_ties() -> None:
    values = np.array([[3.0, 1.0, 1.0 + 1e-14, np.nan], [0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(rank_teachers(values, "higher"), [[1, 2.5, 2.5, np.nan], [2.5] * 4])
    np.testing.assert_array_equal(rank_teachers(values, "lower")[0], [3, 1.5, 1.5, np.nan])


def test_one_prompt_has_no_interval() -> None:
    found = leaderboard(random_parts(2, 1), ALL, resamples=20)
    assert found["value"].notna().all()
    assert found["rank"].notna().all()
    assert found[["low", "high", "rank_low", "rank_high", "first"]].isna().all(axis=None)


def test_overall_is_the_mean_rank_over_the_bases() -> None:
    one, two = random_parts(3, 25, seed=1), random_parts(3, 25, seed=2, student="other")
    two["reward.0"] = -two["reward.0"]  # the other way round
    third = one[one["teacher"] == "t02"].assign(teacher="only-here")
    board = leaderboard(pd.concat([one, two, third]), settings(car={"shift": 100}), resamples=100)
    for teacher in ("t00", "t01", "t02"):
        ranks = [row(board, teacher, "loss", s)["rank"] for s in ("base", "other")]
        overall = row(board, teacher, "loss", "overall")
        assert overall["value"] == np.mean(ranks)
        assert overall["low"] <= overall["value"] <= overall["high"]
        assert (overall["n"], overall["total"], overall["unit"], overall["direction"]) == (2, 2, "mean rank", "lower")
    missing = row(board, "only-here", "loss", "overall")
    assert np.isnan(missing["value"])
    assert np.isnan(missing["rank"])
    assert (missing["n"], missing["total"]) == (1, 2)


def test_overall_of_one_base_is_its_ranks() -> None:
    board = leaderboard(random_parts(4, 25), ALL, resamples=100)
    base, overall = board[board["student"] == "base"], board[board["student"] == "overall"]
    np.testing.assert_array_equal(base["rank"], overall["value"])
    np.testing.assert_array_equal(base["first"], overall["first"])


def test_bases_are_resampled_together() -> None:
    one = random_parts(4, 15)
    board = leaderboard(pd.concat([one, one.assign(student="same")]), ALL, resamples=200)
    base, same = board[board["student"] == "base"], board[board["student"] == "same"]
    for column in ("value", "low", "high", "rank_low", "rank_high", "first"):
        np.testing.assert_array_equal(base[column], same[column])


def test_same_seed_same_table_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = random_parts(4, 30)
    whole = leaderboard(parts, ALL, seed=1, resamples=100)
    pd.testing.assert_frame_equal(whole, leaderboard(parts, ALL, seed=1, resamples=100))
    assert not whole["low"].equals(leaderboard(parts, ALL, seed=2, resamples=100)["low"])
    monkeypatch.setattr(panel, "_BLOCK", 7 * 30)
    pd.testing.assert_frame_equal(whole, leaderboard(parts, ALL, seed=1, resamples=100))


@hypothesis_settings(deadline=None, max_examples=6)
@given(st.integers(0, 2**32))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    parts = pd.concat([random_parts(4, 9, seed=1), random_parts(3, 7, seed=2, student="other")])
    order = np.random.default_rng(seed).permutation(len(parts))
    plain, shuffled = leaderboard(parts, ALL, resamples=30), leaderboard(parts.iloc[order], ALL, resamples=30)
    pd.testing.assert_frame_equal(plain, shuffled)


@hypothesis_settings(deadline=None, max_examples=6)
@given(st.floats(0.001, 1000), st.integers(0, 100))
def test_scaling_rewards_scales_car_and_leaves_ranks(scale: float, seed: int) -> None:
    parts = random_parts(4, 8, seed=seed)
    scaled = parts.assign(**{"reward.0": parts["reward.0"] * scale, "car.0": parts["car.0"] * scale})
    before, after = (
        leaderboard(p, ALL, resamples=40).query("student == 'base' and score in ['car', 'reward']")
        for p in (parts, scaled)
    )
    np.testing.assert_allclose(after[["value", "low", "high"]], before[["value", "low", "high"]] * scale, rtol=1e-9)
    pd.testing.assert_frame_equal(before[["teacher", "rank", "first"]], after[["teacher", "rank", "first"]])


@hypothesis_settings(deadline=None, max_examples=6)
@given(st.integers(2, 4), st.integers(0, 100))
def test_repeating_every_prompt_changes_no_value(times: int, seed: int) -> None:
    parts = random_parts(3, 6, seed=seed)
    repeated = pd.concat([parts.assign(id=parts["id"] + f"-{k}") for k in range(times)])
    before, after = leaderboard(parts, ALL, resamples=40), leaderboard(repeated, ALL, resamples=40)
    np.testing.assert_allclose(before["value"], after["value"], rtol=1e-12)
    np.testing.assert_array_equal(before["rank"], after["rank"])


def test_a_score_that_a_teacher_lacks_leaves_the_others_alone() -> None:
    parts = random_parts(3, 10)
    parts.loc[parts["teacher"] == "t01", ["reward.0", "car.0"]] = np.nan
    board = leaderboard(parts, ALL, resamples=30)
    assert np.isnan(row(board, "t01", "car")["value"])
    assert row(board, "t01", "loss")["n"] == 10
    assert sorted(board.query("student == 'base' and score == 'car'")["rank"].dropna()) == [1, 2]


def test_nothing_in_common_names_the_teacher_to_leave_out() -> None:
    parts = random_parts(3, 4)
    parts.loc[(parts["teacher"] == "t02") & (parts["id"] != "p0001"), "status"] = "empty"
    parts.loc[(parts["teacher"] != "t02") & (parts["id"] == "p0001"), "status"] = "empty"
    with pytest.raises(HarnessError, match=r"student base: no prompt .* \(t02 has the fewest, 1\)") as caught:
        leaderboard(parts, ALL)
    assert "teachers.common" in caught.value.fix
    board = leaderboard(parts, settings(common=False), resamples=50)
    assert row(board, "t02", "loss")["n"] == 1
    assert np.isnan(row(board, "t02", "loss")["low"])


def test_few_prompts_may_be_missed_by_a_resample() -> None:
    parts = random_parts(2, 30)
    parts.loc[(parts["teacher"] == "t01") & (parts["id"] > "p0001"), "status"] = "empty"
    board = leaderboard(parts, settings(common=False), resamples=200)
    bounds = row(board, "t01", "loss")[["low", "high", "rank_low", "rank_high"]]
    assert bounds.notna().all()


def test_all_unscored_is_a_table_of_nulls() -> None:
    board = leaderboard(random_parts(2, 3).assign(status="empty"), ALL, resamples=20)
    assert board["value"].isna().all()
    assert len(board) == 2 * 2 * 3


def test_no_rows_no_board() -> None:
    for nothing in (random_parts(2, 3).iloc[:0], pd.DataFrame(columns=["student", "teacher", "id"])):
        assert list(leaderboard(nothing, ALL).columns) == list(COLUMNS)
        assert leaderboard(nothing, ALL).empty
        assert counts(nothing).empty


def test_doubled_responses_and_a_base_called_overall_are_refused() -> None:
    parts = random_parts(2, 3)
    with pytest.raises(HarnessError, match="two responses of the teacher t00 to the prompt 'p0000'"):
        leaderboard(pd.concat([parts, parts.iloc[:1]]), ALL)
    with pytest.raises(HarnessError, match="cannot be called 'overall'"):
        leaderboard(parts.assign(student="overall"), ALL)


def test_weights_are_draws_with_replacement() -> None:
    weights = np.concatenate(list(resample_weights(40, 3000, seed=0)))
    assert weights.shape == (3000, 40)
    assert (weights.sum(axis=1) == 40).all()
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.08)
    assert weights.var() == pytest.approx(1 - 1 / 40, rel=0.02)  # of a binomial with 40 draws


def test_a_resample_below_zero_is_no_reason_to_refuse() -> None:
    parts = random_parts(1, 10)
    parts["car.0"] = np.array([-1.0] * 5 + [1.2] * 5)  # mean 0.1, many resamples below 0
    found = row(leaderboard(parts, ALL), "t00", "car")
    assert found["low"] < 0 < found["value"]


def test_panels_are_in_order_of_prompts_and_teachers() -> None:
    built = build_panels(random_parts(2, 3).iloc[::-1], common=True)
    assert {p.score.name for p in built} == {"reward", "loss", "car"}
    assert built[0].teachers == ("t00", "t01")
    assert built[0].values.shape == (3, 2, 2)  # car
