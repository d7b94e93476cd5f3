"""What a report makes of a panel of judges: scores, ranks, agreement and marks."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from harness.bench.api import Sample, samples_frame
from harness.bench.panel import judges_own, pooled
from harness.bench.turns import turn_scores
from harness.record.run import CellRecord, JudgeRecord, MetricRecord, SameFamilyRecord
from harness.report import facts
from harness.report.groups import group_cells
from harness.report.load import RunData
from harness.report.measure import COVERAGE, SAME_FAMILY, UNINFORMATIVE, Estimate, Measures
from harness.report.panels import panel_tables
from harness.report.tables import Shown, Table, headline_table, metric_title
from tests.report.fake_run import PROGRAM_METRIC, a_run

SCORE: MetricRecord = replace(PROGRAM_METRIC, benchmark="b", metric="score", unit="points", binary=False)
JUDGES = ("x", "y", "z")
OWN = tuple(replace(SCORE, metric=f"score_by_{j}", headline=False, judge=j) for j in JUDGES)
QUESTIONS = 12
Ratings = Mapping[str, Mapping[str, float]]
"""By cell and judge what is added to every question's rating."""
MEANS: Ratings = {
    "first": {"x": 2.0, "y": 2.0, "z": 0.0},
    "second": {"x": 1.0, "y": 1.0, "z": 1.5},
    "third": {"x": 0.0, "y": 0.0, "z": 1.0},
}


def table(added: float, missing: int = 0) -> pd.DataFrame:
    """A judge's samples of a cell, of which the first have failed."""
    values = [None if k < missing else 3.0 + k % 4 + added for k in range(QUESTIONS)]
    return samples_frame(
        [
            Sample("b", "score", f"q{k}", f"q{k}", "c", 1, 0, v, "ok" if v is not None else "cut", 3)
            for k, v in enumerate(values)
        ]
    )


def run(means: Ratings = MEANS, missing: int = 0, **changes: object) -> RunData:
    """A run of these cells, of the first of which the judge z has failed on some questions."""
    samples, scores = [], []
    for cell, of in means.items():
        by_judge = {j: table(of[j], missing if (cell, j) == ("first", "z") else 0) for j in JUDGES}
        panel = pooled(by_judge)
        pairs = [(panel, turn_scores(panel))]
        pairs += [judges_own(j, own, turn_scores(own), ["score"]) for j, own in by_judge.items()]
        samples += [one.assign(cell=cell, baseline=False) for one, _ in pairs]
        scores += [one.assign(cell=cell, baseline=False, judge="x + y + z") for _, one in pairs]
    judge = JudgeRecord(benchmark="b", judge="", protocol="rating", panel="x + y + z", calibrated=True, note="")
    return a_run(
        pd.concat(samples, ignore_index=True),
        pd.concat(scores, ignore_index=True),
        **{
            "metrics": (SCORE, *OWN),
            "cells": tuple(CellRecord(cell, {}, baseline=False, failed=None) for cell in means),
            "judges": tuple(replace(judge, judge=name) for name in JUDGES),
        }
        | changes,
    )


def the_table(shown: RunData) -> Table:
    """Of the one metric."""
    (panel,) = panel_tables(shown, Measures(shown))
    return panel


def numbers(shown: Table) -> list[list[float | None]]:
    """Its rows without the cell's name."""
    return [[e.value if isinstance(e, Estimate | Shown) else None for e in row[1:]] for row in shown.rows]


def test_the_panel_beside_its_judges_and_the_ranks_without_each() -> None:
    """The third judge alone would have another order, and without the first two that order wins."""
    rows = numbers(the_table(run()))
    base = 3 + sum(k % 4 for k in range(QUESTIONS)) / QUESTIONS
    for row, of in zip(rows, MEANS.values(), strict=True):
        assert row[:4] == pytest.approx([base + sum(of.values()) / 3, *(base + of[j] for j in JUDGES)])
    assert [row[4:] for row in rows] == [[1, 2, 2, 1], [2, 1, 1, 2], [3, 3, 3, 3]]


def test_agreement_is_said() -> None:
    """Equal judges agree entirely; of judges who answer as a coin nothing is left."""
    same = {cell: dict.fromkeys(JUDGES, k) for k, cell in enumerate(MEANS)}
    assert "alpha 1.00" in the_table(run(same)).notes[0]
    assert "on 36 of 36 answers" in the_table(run()).notes[0]
    flat = run({"first": dict.fromkeys(JUDGES, np.nan)})
    assert "undefined" in the_table(flat).notes[0]


def test_a_failed_verdict_is_missing_and_the_row_is_not_ranked() -> None:
    """For alpha the others' verdicts on that answer still count."""
    shown = run(missing=2)
    panel = the_table(shown)
    assert "on 36 of 36 answers" in panel.notes[0], "two judges are left on each"
    first, second, _ = panel.rows
    assert isinstance(first[1], Estimate)
    assert COVERAGE in first[1].marks
    assert (first[1].n, first[1].total) == (3 * (QUESTIONS - 2), 3 * QUESTIONS)
    assert first[5] is None
    assert isinstance(second[5], Shown)
    assert second[5].value == 1


def test_a_run_without_a_panel_has_no_table() -> None:
    """As most have."""
    alone = run(metrics=(SCORE,))
    assert panel_tables(alone, Measures(alone)) == []


def test_a_judge_of_a_rows_family_is_marked() -> None:
    """On its own score and the panel's, and on no other judge's and no other row's."""
    kin = SameFamilyRecord("second", "b", "y", "Qwen", "student")
    shown = run(same_family=(kin,))
    marked = [[SAME_FAMILY in e.marks for e in row[1:5] if isinstance(e, Estimate)] for row in the_table(shown).rows]
    assert marked == [[False] * 4, [True, False, True, False], [False] * 4]
    headline = headline_table(shown, Measures(shown))
    assert any("self-preference" in note for note in headline.notes)


def test_several_judges_of_one_panel_are_no_mixture() -> None:
    """But a panel beside a judge alone is."""
    shown = run()
    assert not any("several judges" in line for line in facts.warnings(shown, Measures(shown)))
    alone = JudgeRecord(benchmark="b", judge="x", protocol="rating", calibrated=True, note="")
    mixed = replace(shown, judges=(*shown.judges, alone))
    assert any("several judges (x + y + z; x, rating)" in line for line in facts.warnings(mixed, Measures(mixed)))


def test_an_uninformative_judge_marks_its_own_score_and_the_panels() -> None:
    """A mean with a judge that says next to nothing ranks nobody."""
    shown = run()
    poor = replace(shown, judges=(replace(shown.judges[0], uninformative=True), *shown.judges[1:]))
    measures = Measures(poor)
    group = group_cells(poor)[0]
    marks = {m.metric: e.marks for m in poor.metrics if (e := measures.estimate(group, m)) is not None}
    assert UNINFORMATIVE in marks["score"]
    assert UNINFORMATIVE in marks["score_by_x"]
    assert UNINFORMATIVE not in marks["score_by_y"]


def test_titles() -> None:
    """Of a judge's own metric."""
    assert metric_title(OWN[0], run()) == "b score, by x"
