"""How answers ended stands beside every score, and two rows whose answers ended otherwise are said to be unlike."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from harness.core.errors import HarnessError
from harness.report.comparisons import comparisons, require, unlike
from harness.report.endings import ending_table, with_incomplete
from harness.report.load import RunData, load_run
from harness.report.measure import Measures
from harness.report.tables import headline_table


@pytest.fixture
def plain(fake_run: ModuleType, tmp_path: Path) -> RunData:
    return load_run(fake_run.Fake(questions=20, tasks=8, seeds=2).write(tmp_path))


def ended(run: RunData, cut: float) -> RunData:
    """The run with complete MT-Bench answers, but for a share of those of the student that were cut."""
    samples = run.samples.assign(ending=pd.Series(pd.NA, run.samples.index, dtype="string"))
    rated = samples["benchmark"] == "mt_bench"
    samples.loc[rated, "ending"] = "complete"
    of_student = samples.index[rated & (samples["cell"] == "student")]
    samples.loc[of_student[: round(cut * len(of_student))], "ending"] = "cut"
    return replace(run, samples=samples, scores=run.scores.assign(complete_value=5.0, complete_n=1))


def test_a_run_that_does_not_know_says_nothing(plain: RunData) -> None:
    measures, table = Measures(plain), headline_table(plain, Measures(plain))
    assert with_incomplete(table, measures) == table
    assert ending_table(measures) is None
    assert unlike(comparisons(plain, measures)) == []


def test_where_all_are_complete_one_note_says_so(plain: RunData) -> None:
    run = ended(plain, 0.0)
    table = with_incomplete(headline_table(run, Measures(run)), Measures(run))
    assert table.columns == headline_table(run, Measures(run)).columns
    assert table.notes[-1].startswith("No answer was cut at the limit")
    assert ending_table(Measures(run)) is None


def test_shares_stand_beside_the_scores_and_the_score_over_complete_answers_in_their_table(plain: RunData) -> None:
    run = ended(plain, 0.25)
    table = with_incomplete(headline_table(run, Measures(run)), Measures(run))
    assert table.frame()["mt_bench_incomplete"].tolist() == [25.0] + [0.0] * (len(table.rows) - 1)
    assert "pocket_incomplete" not in table.frame(), "nobody says how its answers ended"
    endings = ending_table(Measures(run))
    assert endings is not None
    first = endings.frame().iloc[0]
    assert (first["answers"], first["complete"], first["cut"], first["unfinished"]) == (40, 75.0, 25.0, 0.0)
    assert first["complete_scores"].startswith("5.0"), "beside the score over all, in brackets"


@pytest.mark.parametrize(("cut", "told"), [(0.05, False), (0.075, True), (1.0, True)])
def test_rows_whose_shares_differ_are_said(plain: RunData, cut: float, told: bool) -> None:
    run = ended(plain, cut)
    lines = unlike(comparisons(run, Measures(run)))
    assert [line.startswith("MT-Bench: scores may differ since answers are incomplete") for line in lines] == [
        True
    ] * told
    assert [f"0.0 % : {100 * cut:.1f} %" in line for line in lines] == [True] * told


@pytest.mark.parametrize(
    ("requirement", "broken"),
    [
        ("mt_bench: incomplete within 10", 0),
        ("mt_bench: incomplete within 7.4", 4),
        ("incomplete within 10", 4),
        ("pocket: incomplete within 100", 4),
    ],
)
def test_a_requirement_fails_where_they_differ_or_are_not_known(plain: RunData, requirement: str, broken: int) -> None:
    run = ended(plain, 0.075)
    lines = require(comparisons(run, Measures(run)), requirement)
    assert len(lines) == broken
    assert all("incomplete answers" in line for line in lines)


def test_a_requirement_that_cannot_be_read(plain: RunData) -> None:
    with pytest.raises(HarnessError, match="cannot read the requirement"):
        require(comparisons(plain, Measures(plain)), "incomplete within little")
