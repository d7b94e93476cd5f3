"""The samples of a panel: of every judge, complete or without a value, and scored as a single judge's are."""

import pandas as pd
import pytest

from harness.bench.alpaca_eval.length_control import STAND_IN
from harness.bench.alpaca_eval.scores import LENGTH_CONTROLLED, WIN_RATE, controlled_samples, pair_samples, scores
from harness.bench.api import Metric, Question, samples_frame
from harness.bench.arena_hard.scores import battle_samples, win_rates
from harness.bench.panel import judges_own, of_judge, pooled
from harness.generate.api import Answer
from harness.judge.api import JudgeTask, Verdict
from harness.store.ledger import Reply

QUESTIONS = [Question(f"q{k}", "c", (f"Ask {k}?",), 0.0, 1) for k in range(4)]


def games(values: list[float | None]) -> pd.DataFrame:
    """Arena-Hard's samples of a judge that says the same of both games of a question, the model's answer first."""
    verdicts = [
        Verdict(
            JudgeTask(q.id, 1, variant=variant),
            Reply("unparseable") if v is None else Reply("ok", v if variant == "ab" else 1 - v),
        )
        for q, v in zip(QUESTIONS, values, strict=True)
        for variant in ("ba", "ab")
    ]
    return samples_frame(battle_samples(QUESTIONS, [Answer(q.id, ("x",)) for q in QUESTIONS], verdicts))


def test_battles_of_a_panel_are_those_of_all_its_judges() -> None:
    """A judge's strong win counts three times, as upstream pools the battles of an ensemble."""
    one, other = games([2.0, 0.5, -1.0, 0.5]), games([0.5, 0.5, 0.5, 0.5])
    assert len(one) > len(other), "strong wins are three battles"
    row = win_rates(pooled({"one": one, "other": other})).iloc[0]
    assert (row["n"], row["total"]) == (16, 16)
    every = pd.concat([one["value"], other["value"]])
    assert row["value"] == pytest.approx(every.mean())


def test_an_answer_is_whole_or_without_a_value() -> None:
    """For the panel; the judge that gave its verdicts keeps its own score."""
    one, other = games([2.0, 0.5, -1.0, 0.5]), games([None, 0.5, 0.5, 0.5])
    panel = pooled({"one": one, "other": other})
    first = panel[panel["item"] == "q0"]
    assert first["value"].isna().all()
    assert set(first["status"]) == {"unparseable"}
    assert panel[panel["item"] != "q0"]["value"].notna().all()
    assert not panel.duplicated(["metric", "item", "turn", "repeat"]).any()
    samples, own = judges_own("one", one, win_rates(one), ["win_rate"])
    assert set(samples["metric"]) == set(own["metric"]) == {"win_rate_by_one"}
    assert own["value"].iloc[0] == win_rates(one)["value"].iloc[0]


def test_a_length_controlled_rate_is_the_mean_of_the_judges() -> None:
    """As any score that is the mean of its samples."""
    tables = {}
    for judge, shift in (("one", 0.0), ("other", 0.3)):
        rows = []
        for k in range(40):
            rows += pair_samples(str(k), "d", 0, min(1.0, (k * 7 % 10) / 10 + shift), "ok", 40 * (k % 5) - 80, 300)
        tables[judge] = samples_frame([*rows, *controlled_samples(rows, STAND_IN)])
    both = scores(pooled(tables), approximate=True).set_index(["metric", "category"])["value"]
    alone = [scores(t, approximate=True).set_index(["metric", "category"])["value"] for t in tables.values()]
    for metric in (WIN_RATE, LENGTH_CONTROLLED):
        expected = sum(float(of[metric, "overall"]) for of in alone) / 2
        assert both[metric, "overall"] == pytest.approx(expected)


def test_a_judges_metric() -> None:
    """It stands in no main table."""
    metric = of_judge(Metric("score", "points", "higher", "general"), "gpt-x")
    assert (metric.name, metric.judge, metric.headline) == ("score_by_gpt-x", "gpt-x", False)
