"""What a report makes of transferred scores: their table and marks, and when they are ranked."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from harness.calibration.calibration import FEWEST_MODELS
from harness.record.run import CorrectedScore, TransferRecord
from harness.report.measure import TRANSFERRED, UNPROVEN, Estimate
from harness.report.render_table import to_csv, to_markdown
from harness.report.settings import ReportSettings
from harness.report.tables import Table
from harness.report.transfers import transfer_table
from tests.report.fake_run import a_run

NAMES = ("a", "b", "c", "d", "e", "f", "g", "h", "i", "j")


def made(cell: str, value: float, held: int, models: int) -> TransferRecord:
    """A cell's record, whose score `ppi` gives."""
    scores = {"ppi": CorrectedScore(value, value - 1, value + 1, held)}
    return TransferRecord(
        cell=cell,
        benchmark="alpaca_eval",
        metric="win_rate",
        judge="cheap",
        reference="gone",
        live=value + 2,
        models=NAMES[:models],
        scores=scores,
    )


def table(*records: TransferRecord, **settings: Any) -> Table:
    """Of a run with these records."""
    run = replace(a_run(pd.DataFrame(), pd.DataFrame(), transfers=records), settings=ReportSettings(**settings))
    shown = transfer_table(run)
    assert shown is not None
    return shown


def estimates(shown: Table) -> list[Estimate]:
    """The column of `ppi`."""
    place = [column.key for column in shown.columns].index("transferred_ppi")
    return [e for row in shown.rows if isinstance(e := row[place], Estimate)]


def test_a_run_without_transfers_has_no_table() -> None:
    """As most have."""
    assert transfer_table(a_run(pd.DataFrame(), pd.DataFrame())) is None


@pytest.mark.parametrize(
    ("held", "models", "floor", "ranked"),
    [
        (10, 10, 0.9, True),
        (9, 10, 0.9, True),
        (8, 10, 0.9, False),
        (8, 10, 0.8, True),
        (FEWEST_MODELS, FEWEST_MODELS, 0.9, True),
        (FEWEST_MODELS - 1, FEWEST_MODELS - 1, 0.9, False),
        (0, 0, 0.0, False),
    ],
)
def test_ranked_only_where_enough_models_held(held: int, models: int, floor: float, ranked: bool) -> None:
    """The score is shown and marked in every case."""
    first, second = estimates(table(made("x", 20, held, models), made("y", 30, held, models), transfer_floor=floor))
    assert [first.value, second.value] == [20, 30]
    assert TRANSFERRED in first.marks
    assert (UNPROVEN not in first.marks) == ranked
    assert (first.best, second.best) == (False, ranked)


def test_says_transferred_and_what_held() -> None:
    """In Markdown and in the CSV file."""
    shown = table(made("x", 20, 1, 2))
    text = to_markdown(shown)
    for words in ("transferred by PPI", "PPI 1 of 2", "cheap, gone", "this is no audit", "not ranked"):
        assert words in text
    assert "transferred, not proven" in to_csv(shown)
