"""Which questions an audit draws, and the samples and scores that it adds."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.bench.alpaca_eval.length_control import STAND_IN
from harness.bench.alpaca_eval.scores import LENGTH_CONTROLLED, WIN_RATE, controlled_samples, pair_samples
from harness.bench.api import Metric, Question, Sample, samples_frame
from harness.bench.arena_hard.scores import battle_samples, win_rates
from harness.bench.audit import audit_metric, audited_metrics, drawn, labelled
from harness.judge.api import JudgeTask, Verdict
from harness.judge.forms.arena import VALUES
from harness.judge.settings import DrawSettings
from harness.stats.audit import FEWEST
from harness.store.ledger import Reply

SIZES = {"writing": 10, "math": 10, "stem": 25, "alone": 1}


def questions(sizes: dict[str, int] = SIZES) -> list[Question]:
    """So many of each category."""
    return [Question(f"{c} {k}", c, ("?",), 0.0, 1) for c, size in sizes.items() for k in range(size)]


@given(st.integers(10, 46), st.integers(10, 46), st.integers(0, 5))
def test_a_larger_audit_begins_with_the_smaller_one(one: int, other: int, seed: int) -> None:
    """So that verdicts are never bought twice; the order of the questions does not matter."""
    small, large = sorted((one, other))
    draws = [drawn(questions(), DrawSettings(n=n, seed=seed)) for n in (small, large)]
    assert draws[1][:small] == draws[0]
    assert len(set(draws[1])) == large
    assert drawn(questions()[::-1], DrawSettings(n=large, seed=seed)) == draws[1]


def test_the_draw_is_stratified_and_fair() -> None:
    """Of each category its share, to a question; over seeds every question is drawn as often."""
    counts: Counter[str] = Counter()
    asked = questions({"writing": 10, "math": 10, "stem": 20})
    for seed in range(1000):
        chosen = drawn(asked, DrawSettings(share=0.3, seed=seed))
        by_category = Counter(item.split()[0] for item in chosen)
        assert len(chosen) == 12
        assert all(abs(by_category[c] - 0.3 * n) < 1.5 for c, n in (("writing", 10), ("math", 10), ("stem", 20)))
        counts.update(chosen)
    assert len(counts) == 40
    assert min(counts.values()) / 1000 > 0.3 - 0.06
    assert max(counts.values()) / 1000 < 0.3 + 0.06


def test_a_share_is_rounded_up_and_a_number_is_at_most_all() -> None:
    """A fifth by default."""
    assert [DrawSettings.size(s, 46) for s in (DrawSettings(), DrawSettings(share=0.5), DrawSettings(n=100))] == [
        10,
        23,
        46,
    ]


METRICS = (Metric("score", "points (1-10)", "higher", "general", binary=True), Metric("other", "%", "lower", "domain"))


def test_audited_metrics_take_the_headlines() -> None:
    """A metric that is not audited is shown no more beside those that are."""
    metrics = audited_metrics(METRICS, lambda metric: metric.name == "score")
    assert [(m.name, m.headline, m.binary, m.audits) for m in metrics] == [
        ("score", False, True, ""),
        ("score_audited", True, False, "score"),
        ("score_reference", False, True, ""),
        ("other", False, False, ""),
    ]


def samples(values: dict[str, float | None]) -> pd.DataFrame:
    """A row for each question."""
    return samples_frame(
        [Sample("b", "score", q, q, "c", 1, 0, v, "ok" if v else "failed", 5) for q, v in values.items()]
    )


def judged(n: int = 40) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Live and reference values of n questions."""
    rng = np.random.default_rng(3)
    merit = rng.uniform(2, 8, n)
    return (
        {f"q{k}": float(v) for k, v in enumerate(merit + 2 + rng.normal(size=n) / 2)},
        {f"q{k}": float(v) for k, v in enumerate(merit)},
    )


def test_the_audited_score_is_the_mean_of_its_samples() -> None:
    """A sample for each question, and the reference's own beside; a failed verdict of either judge audits nothing."""
    live, reference = judged()
    live["q0"] = reference["q1"] = None
    audit = audit_metric("score", samples(live), samples({q: reference[q] for q in list(reference)[:15]}))
    rows = audit.scores.set_index("metric")
    means = audit.samples.groupby("metric")["value"].mean()
    for metric in ("score_audited", "score_reference"):
        assert rows.loc[metric, "value"] == pytest.approx(means[metric])
    assert (rows.loc["score_audited", "n"], rows.loc["score_audited", "total"]) == (39, 40)
    assert rows.loc["score_reference", "n"] == 13
    assert Counter(audit.samples["metric"]) == {"score_audited": 39, "score_reference": 13}
    assert audit.made is not None
    assert audit.made.audited == 13
    assert audit.made.value == pytest.approx(rows.loc["score_audited", "value"])
    assert audit.made.low is not None
    assert audit.made.low < np.mean([v for v in reference.values() if v]) < audit.made.live


def test_too_few_labels_have_a_score_without_a_value() -> None:
    """The reference's own samples are kept all the same."""
    live, reference = judged()
    audit = audit_metric("score", samples(live), samples({f"q{k}": reference[f"q{k}"] for k in range(FEWEST - 1)}))
    assert audit.made is None
    rows = audit.scores.set_index("metric")
    assert rows["value"].isna().tolist() == [True, False]
    assert rows.loc["score_reference", "n"] == FEWEST - 1
    assert set(audit.samples["metric"]) == {"score_reference"}


def test_labels_stand_for_the_references_samples() -> None:
    """By item and turn, where all of a question's turns that the live judge has rated are labelled."""
    live = samples(judged()[0])
    both = pd.concat([live, live[live["item"] != "q3"].assign(turn=2)])
    frame = labelled(both, "score", {("q3", 1): 9.0, ("q3", 2): 1.0, ("q4", 1): 5.0, ("q5", 1): 6.0, ("q5", 2): 7.0})
    assert frame[["item", "turn", "value"]].values.tolist() == [["q3", 1, 9.0], ["q5", 1, 6.0], ["q5", 2, 7.0]]


def alpaca(kinder: float, asked: range) -> pd.DataFrame:
    """AlpacaEval's samples by a judge that is so much kinder, and likes length more the kinder it is."""
    rng = np.random.default_rng(4)
    merit, longer = rng.uniform(0.1, 0.6, 120), rng.normal(size=120)
    noise = np.random.default_rng(int(100 * kinder)).normal(size=120) / 20
    value = (merit + kinder * (1 + longer) + noise).clip(0, 1)
    pairs = [
        sample
        for k in asked
        for sample in pair_samples(str(k), "koala", 0, float(value[k]), "ok", int(-900 * longer[k]), 500)
    ]
    return samples_frame([*pairs, *controlled_samples(pairs, STAND_IN)])


@pytest.mark.parametrize("metric", [WIN_RATE, LENGTH_CONTROLLED])
def test_alpaca_evals_rates_are_audited(metric: str) -> None:
    """With all audited each is the reference's; with half of them its interval holds the reference's."""
    live, reference = alpaca(0.2, range(120)), alpaca(0.0, range(120))
    truth = reference[reference["metric"] == metric]["value"].mean()
    assert live[live["metric"] == metric]["value"].mean() > truth + 3
    whole, half = (audit_metric(metric, live, ref).made for ref in (reference, alpaca(0.0, range(0, 120, 2))))
    assert whole is not None
    assert whole.value == pytest.approx(truth)
    assert half is not None
    assert half.weight > 0.3
    assert half.low is not None
    assert half.high is not None
    assert half.low < truth < half.high


def test_arena_hards_battles_are_audited_as_they_count() -> None:
    """A verdict of `>>` is three battles of the reference's, also where it is one of the live judge's."""
    asked = [Question(f"q{k}", "c", ("?",), 0.0, 1) for k in range(20)]

    def judged_by(values: list[float]) -> pd.DataFrame:
        tasks = [JudgeTask(q.id, 1, variant=variant) for q in asked for variant in ("ba", "ab")]
        shares = [v if t.variant == "ab" else 1 - v for t, v in zip(tasks, np.repeat(values, 2), strict=True)]
        verdicts = [Verdict(t, Reply("ok", share)) for t, share in zip(tasks, shares, strict=True)]
        return samples_frame(battle_samples(asked, [], verdicts))

    rng = np.random.default_rng(6)
    live, reference = (judged_by(rng.choice(list(VALUES.values()), 20).tolist()) for _ in range(2))
    made = audit_metric("win_rate", live, reference).made
    assert made is not None
    assert made.value == pytest.approx(win_rates(reference)["value"].iloc[0])
    assert made.live == pytest.approx(win_rates(live)["value"].iloc[0])
    assert len(live) != len(reference), "some verdicts count three times"
