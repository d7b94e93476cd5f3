import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.discover import in_tree
from harness.core.errors import HarnessError
from harness.teachers import scores as room
from harness.teachers.api import PASSES, TokenTable, all_scores
from harness.teachers.leaderboard import leaderboard
from harness.teachers.parts import score_parts, wanted_scores
from tests.teachers.tables import parts_of, rewards, settings, table

NAMES = {
    "reward",
    "loss",
    "ppl",
    "car",
    "grape",
    "rsr",
    "local_naturalness",
    "ifd",
    "length",
    "bits_per_byte",
}

# Two responses. a: three tokens, two steps; b: one token.
TWO = table(
    {"a": [-1, -2, -3], "b": [-4]},
    ranks=[1, 5, 200, 50],
    alone=[-2, -3, -4, -2],
    local=[-1, -2, -4, -5],
    steps=[0, 0, 1, 0],
    sizes=[6, 4],
)
WORKED = {
    "reward": 6.0,  # (8 + 4) / 2
    "loss": 3.0,  # (2 + 4) / 2; over tokens it would be 10 / 4
    "ppl": math.exp(3),
    "car": 1.5,  # 6 / (1 + 1 * 3); the mean of 8 / 3 and 4 / 5 would be 1.73
    "grape": -3.0,
    "rsr": 15.6,  # (1 + 5 + 100 + 50) / (6 + 4); the mean of 106 / 6 and 50 / 4 would be 15.08
    "local_naturalness": -3.875,  # a: (-1.5 - 4) / 2 = -2.75, b: -5
    "ifd": (math.exp(2 - 3) + math.exp(4 - 2)) / 2,
    "length": 2.0,  # (3 + 1) / 2
    "bits_per_byte": 10 / math.log(2) / 10,  # (6 + 4) nats over 6 + 4 bytes
}


def value(name: str, data: TokenTable, reward: pd.DataFrame | None, **changes: object) -> float:
    """The score of one teacher, through the leaderboard."""
    wanted = settings(name, **changes)
    board = leaderboard(parts_of({"teacher": (data, reward)}, wanted), wanted, resamples=10)
    return float(board.loc[board["student"] == "base", "value"].item())


def test_every_score_is_found_and_complete() -> None:
    assert set(all_scores()) == NAMES == set(WORKED)
    for name, score in all_scores().items():
        assert score.name == name
        assert score.title
        assert score.source
        assert score.unit
        assert score.direction in {"higher", "lower"}
        assert score.needs <= {*PASSES, "reward"}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_worked_by_hand(name: str) -> None:
    assert value(name, TWO, rewards(a=8, b=4)) == pytest.approx(WORKED[name], rel=1e-12)


LIKELY, UNLIKELY = table({"a": [-1, -1], "b": [-1, -1]}), table({"a": [-3, -3], "b": [-3, -3]})
SAME = {"a": [-2.0, -2.0], "b": [-2.0, -2.0]}
HIGH, LOW = rewards(a=9, b=9), rewards(a=2, b=2)
BETTER_AND_WORSE: dict[str, tuple[tuple[TokenTable, pd.DataFrame | None], tuple[TokenTable, pd.DataFrame | None]]] = {
    "reward": ((UNLIKELY, HIGH), (LIKELY, LOW)),
    "loss": ((LIKELY, LOW), (UNLIKELY, HIGH)),
    "ppl": ((LIKELY, LOW), (UNLIKELY, HIGH)),
    "grape": ((LIKELY, LOW), (UNLIKELY, HIGH)),
    "bits_per_byte": ((LIKELY, LOW), (UNLIKELY, HIGH)),
    "car": ((LIKELY, HIGH), (UNLIKELY, HIGH)),
    "rsr": ((table(SAME, ranks=[1] * 4), None), (table(SAME, ranks=[90] * 4), None)),  # surprising, yet ranked high
    "local_naturalness": (
        (table(SAME, local=[-1] * 4, steps=[0, 1] * 2), None),
        (table(SAME, local=[-4] * 4, steps=[0, 1] * 2), None),
    ),
    "ifd": ((table(SAME, alone=[-2] * 4), None), (table(SAME, alone=[-6] * 4), None)),  # the prompt gives it away
    "length": ((table({"a": [-9] * 5, "b": [-9] * 5}), None), (table({"a": [-1], "b": [-1]}), None)),
}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_better_teacher_is_first(name: str) -> None:
    better, worse = BETTER_AND_WORSE[name]
    wanted = settings(name)
    board = leaderboard(parts_of({"a-worse": worse, "b-better": better}, wanted), wanted, resamples=20)
    base = board[board["student"] == "base"].set_index("teacher")
    assert base.loc["b-better", "rank"] == 1
    assert base.loc["b-better", "first"] == 1
    assert base.loc["a-worse", "rank"] == 2
    assert base.loc["a-worse", "first"] == 0


def test_car_prefers_reward_at_equal_loss() -> None:
    assert value("car", LIKELY, HIGH) > value("car", LIKELY, LOW)


def test_car_beta_and_shift() -> None:
    reward = rewards(a=8, b=4)
    assert value("car", TWO, reward, car={"beta": 0}) == pytest.approx(6)
    assert value("car", TWO, reward, car={"beta": 2}) == pytest.approx(6 / 7)
    assert value("car", TWO, rewards(a=-8, b=-4), car={"shift": 10}) == pytest.approx(4 / 4)


def test_car_refuses_a_negative_mean_reward_and_names_setting_and_teacher() -> None:
    with pytest.raises(HarnessError, match=r"-6 is negative.*teacher.*base") as caught:
        value("car", TWO, rewards(a=-8, b=-4))
    assert caught.value.where == "teachers.car.shift"
    assert "at least 6 " in caught.value.fix
    with pytest.raises(HarnessError, match=r"-1 is negative"):
        value("car", TWO, rewards(a=-8, b=-4), car={"shift": 5})


def test_one_negative_reward_is_no_negative_mean() -> None:
    parts = score_parts(TWO, rewards(a=8, b=-1), settings("car"))
    means = parts[["car.0", "car.1"]].to_numpy().mean(axis=0)
    assert float(all_scores()["car"].combine(means, settings())) == pytest.approx(3.5 / 4)


def test_local_naturalness_keeps_responses_apart() -> None:
    # Both responses have only step 0: the second's tokens are not part of the first's step.
    data = table({"a": [-1, -1], "b": [-1]}, local=[-1, -3, -6], steps=[0, 0, 0])
    assert value("local_naturalness", data, None) == pytest.approx(-4)  # (-2 - 6) / 2; as one step -10 / 3


def test_ranks_are_clipped_at_100() -> None:
    assert value("rsr", table({"a": [-2, -2]}, ranks=[100, 49_000]), None) == pytest.approx(200 / 4)


@given(st.lists(st.lists(st.floats(-20, -0.01), min_size=1, max_size=6), min_size=1, max_size=6))
def test_relations_between_scores(responses: list[list[float]]) -> None:
    data = table({f"p{k}": values for k, values in enumerate(responses)})
    parts = score_parts(data, None, settings())
    assert set(parts.columns) == {
        *("id", "status", "cut", "loss.0", "ppl.0", "grape.0", "length.0", "bits_per_byte.0", "bits_per_byte.1")
    }
    np.testing.assert_allclose(parts["loss.0"], [-np.mean(values) for values in responses])
    np.testing.assert_allclose(parts["grape.0"], -parts["loss.0"])
    np.testing.assert_allclose(parts["bits_per_byte.0"], parts["loss.0"] * parts["length.0"] / np.log(2))


def test_unscored_responses_are_null_with_their_status() -> None:
    data = table({"a": [-1], "b": [-2], "c": [-3]}, unscored={"e": "empty", "n": "no room"})
    parts = score_parts(data, rewards(a=5, b=None, e=1), settings())
    assert dict(zip(parts["id"], parts["status"], strict=True)) == {
        "e": "empty",
        "n": "no room",
        "a": "ok",
        "b": "no reward",  # null
        "c": "no reward",  # not there
    }
    ingredients = parts.set_index("id").drop(columns=["status", "cut"])
    assert ingredients.loc["a"].notna().all()
    assert ingredients.drop(index="a").isna().all(axis=None)
    assert (parts.loc[parts["status"] != "ok", "loss.0"] != 0).all()


def test_a_missing_reward_is_no_matter_where_no_score_needs_it() -> None:
    parts = score_parts(TWO, rewards(a=1), settings("loss"))
    assert list(parts["status"]) == ["ok", "ok"]


def test_nothing_scored_gives_an_empty_evidence() -> None:
    data = table({}, unscored={"a": "empty"}, ranks=[], alone=[], local=[], steps=[])
    parts = score_parts(data, rewards(a=1), settings())
    assert list(parts["status"]) == ["empty"]
    assert {f"{name}.0" for name in NAMES} < set(parts.columns)


def test_by_default_scores_without_their_needs_are_left_out() -> None:
    names = {score.name for score in wanted_scores(settings(), frozenset({"tokens", "reward"}))}
    assert names == {"reward", "loss", "ppl", "car", "grape", "length", "bits_per_byte"}


@pytest.mark.parametrize(
    ("name", "message"),
    [("rsr", "needs ranks"), ("ifd", "needs alone"), ("local_naturalness", "needs local"), ("car", "needs reward")],
)
def test_a_named_score_without_its_needs_is_an_error(name: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message) as caught:
        score_parts(table({"a": [-1]}), None, settings(name))
    assert caught.value.where == "teachers.scores"
    assert ("teachers.reward" in caught.value.fix) == (name == "car")


def test_an_unknown_score_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(HarnessError, match="'lose'") as caught:
        score_parts(TWO, None, settings("lose"))
    assert "loss" in caught.value.fix


def test_ambiguous_and_foreign_rewards_are_errors() -> None:
    with pytest.raises(HarnessError, match="two rewards for the prompt 'a'"):
        score_parts(TWO, pd.concat([rewards(a=1), rewards(a=2)]), settings())
    with pytest.raises(HarnessError, match="no reward belongs to a response"):
        score_parts(TWO, rewards(x=1, y=2), settings())


EXAMPLE = '''
"""Novelty: the share of response tokens that are not the student's own first choice."""

from harness.teachers.api import Evidence, Floats, TeacherScore
from harness.teachers.scores._common import columns, mean


def share(evidence: Evidence) -> Floats:
    """(R,) share of tokens with a rank above 1."""
    assert evidence.table.ranks is not None
    return evidence.sums(evidence.table.ranks > 1) / evidence.lengths


SCORE = TeacherScore(
    name="novelty",
    title="Novelty",
    source="an example",
    direction="higher",
    unit="share",
    needs=frozenset({"ranks"}),
    parts=lambda evidence: columns(share(evidence)),
    combine=mean,
)
'''


@pytest.fixture
def with_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "novelty.py").write_text(EXAMPLE)
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path)])
    in_tree.cache_clear()
    yield
    in_tree.cache_clear()
    sys.modules.pop("harness.teachers.scores.novelty", None)


@pytest.mark.usefixtures("with_example")
def test_a_new_file_is_a_new_score() -> None:
    assert len(EXAMPLE.strip().splitlines()) <= 25
    assert value("novelty", TWO, None) == pytest.approx((2 / 3 + 1) / 2)
