"""What a report makes of audited metrics: their differences, their marks, their table."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from harness.bench.api import Sample, samples_frame
from harness.bench.audit import audit_metric
from harness.record.run import AuditRecord, CellRecord, JudgeRecord, MetricRecord
from harness.report.audits import audit_table
from harness.report.groups import single
from harness.report.load import RunData
from harness.report.measure import UNINFORMATIVE, Measures
from harness.report.tables import headline_table, metric_title
from harness.stats.audit import Judged, audited_difference
from harness.stats.spread import Rows
from tests.report.fake_run import PROGRAM_METRIC, a_run

LIVE: MetricRecord = replace(PROGRAM_METRIC, benchmark="b", metric="score", unit="points", binary=False, headline=False)
AUDITED = replace(LIVE, metric="score_audited", headline=True, audits="score")
REFERENCE = replace(LIVE, metric="score_reference")
JUDGE = JudgeRecord(benchmark="b", judge="cheap", protocol="rating", calibrated=True, uninformative=True, note="poor")
QUESTIONS = 60


def values(shift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A cell's values by the live judge, and by the reference."""
    merit = np.random.default_rng(0).normal(size=QUESTIONS) + np.random.default_rng(seed).normal(size=QUESTIONS) + shift
    return merit + 3 + np.random.default_rng(seed + 9).normal(size=QUESTIONS) / 2, merit


def frame(some: np.ndarray) -> pd.DataFrame:
    """The samples of the first questions."""
    return samples_frame(
        [Sample("b", "score", f"q{k}", f"q{k}", "c", 1, 0, float(v), "ok", 3) for k, v in enumerate(some)]
    )


def run(**cells: tuple[np.ndarray, np.ndarray]) -> RunData:
    """A run of cells that the reference audited on the first 25 questions."""
    samples, scores, made = [], [], []
    for cell, (live, reference) in cells.items():
        audit = audit_metric("score", frame(live), frame(reference[:25]))
        row = {"benchmark": "b", "metric": "score", "category": "overall", "value": live.mean(), "n": 60, "total": 60}
        samples.append(pd.concat([frame(live), audit.samples]).assign(cell=cell, baseline=False))
        scores.append(pd.concat([pd.DataFrame([row]), audit.scores]).assign(cell=cell, baseline=False, judge="cheap"))
        assert audit.made is not None
        made.append(AuditRecord(cell=cell, judge="cheap", reference="dear", price_usd=0.25, **vars(audit.made)))
    return a_run(
        pd.concat(samples, ignore_index=True),
        pd.concat(scores, ignore_index=True),
        metrics=(LIVE, AUDITED, REFERENCE),
        cells=tuple(CellRecord(cell, {}, baseline=False, failed=None) for cell in cells),
        judges=(JUDGE,),
        audits=tuple(made),
    )


def test_a_difference_is_audited_as_a_difference() -> None:
    """Its weight is tuned on the two cells' differences, from both judges' samples."""
    cells = {"one": values(0.8, 1), "two": values(0.0, 2)}
    data = run(**cells)
    first, second = (single(cell) for cell in data.cells)
    difference = Measures(data).difference(first, second, AUDITED)
    every, some = np.arange(QUESTIONS), np.arange(25)
    one, other = (Judged(Rows(f, every, every), Rows(y[:25], some, some)) for f, y in cells.values())
    expected = audited_difference([one], [other])
    assert difference is not None
    assert expected is not None
    assert (difference.value, difference.stderr) == pytest.approx((expected.value, expected.stderr))


def test_an_audited_score_is_ranked_whatever_the_judge_is_worth() -> None:
    """The live judge is of no use by its calibration, which marks its own scores and not the audited ones."""
    data = run(one=values(0.8, 1), two=values(0.0, 2))
    measures, group = Measures(data), single(data.cells[0])
    live, audited = (measures.estimate(group, metric) for metric in (LIVE, AUDITED))
    assert live is not None
    assert live.marks == (UNINFORMATIVE,)
    assert audited is not None
    assert audited.marks == ()
    assert audited.low is not None
    assert [column.title for column in headline_table(data, measures).columns][-1] == "b, audited"
    assert metric_title(LIVE, data) == "b score"


def test_a_small_effect_is_measured_by_the_live_judges_spread() -> None:
    """The spread of contributions grows as the share of audited questions falls."""
    data = run(one=values(0.8, 1), two=values(0.0, 2))
    groups = [single(cell) for cell in data.cells]
    measures = Measures(data)
    assert measures.item_sd(AUDITED, groups) == measures.item_sd(LIVE, groups)


def test_the_table_has_the_three_scores_side_by_side() -> None:
    """With what the audit changed, its price, and what the live judge was worth."""
    data = run(one=values(0.8, 1))
    table = audit_table(data)
    assert table is not None
    (row,) = table.frame().to_dict("records")
    (made,) = data.audits
    assert (row["live"], row["audited"], row["reference"]) == (made.live, made.value, made.reference_value)
    assert row["change"] == pytest.approx(made.value - made.live)
    assert (row["labels"], row["price"]) == (25, 0.25)
    assert made.effective is not None
    assert row["worth"] == pytest.approx(made.effective - 25)
    assert audit_table(a_run(data.samples, data.scores)) is None
