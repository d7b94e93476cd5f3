import pandas as pd
import pytest

from harness.report.measure import Estimate
from harness.report.render_table import to_latex, to_markdown
from harness.report.tables import Column, Entry
from harness_papers.layout import Block, beside, decimals_of, evened, printed, quoted

LEAD = (Column("model", "model"),)


def block(source: str, entries: dict[tuple[str, str], Entry]) -> Block:
    rows = {row: (row,) for row, _ in entries}
    columns = {c: Column(c, c, "", "number") for _, c in entries}
    return Block(source, rows, columns, entries)


def test_a_number_carries_its_origin() -> None:
    assert quoted(1.5, 2).text == "1.50"
    assert quoted(1.5, 1, "derived").text == "1.5*"
    assert quoted(1.5, 1, "by eye").text == "1.5~"
    assert quoted(0.5, 2, "derived", (0.25, 0.75), (1, 2)).text == "0.50* [0.25, 0.75] 1/2"
    assert quoted(0.5, 2, "derived", (float("nan"), float("nan"))).text == "0.50*"


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_what_is_missing_is_not_zero(missing: float | None) -> None:
    found = quoted(missing, 2)
    assert (found.value, found.text) == (None, "–")


def test_printed_digits_are_kept() -> None:
    assert decimals_of(pd.Series([1.0, 13.755, None])) == 3
    frame = pd.DataFrame({"model": ["a", "b"], "x": [7.6, 7.58], "y": [None, 90.0]})
    found = printed(frame, ["model"], [Column("x", "X"), Column("y", "Y")])
    texts = {place: getattr(e, "text", "") for place, e in found.entries.items()}
    assert texts == {("a", "x"): "7.60", ("b", "x"): "7.58", ("a", "y"): "–", ("b", "y"): "90"}
    with pytest.raises(AssertionError, match="keys must tell rows apart"):
        printed(frame.assign(model="a"), ["model"], [])


def test_blocks_share_rows_and_columns_by_key() -> None:
    one = block("published", {("a", "x"): quoted(1.0, 1), ("b", "x"): quoted(2.0, 1, "by eye")})
    two = block("run r", {("b", "x2"): quoted(3.0, 1, "derived"), ("c", "x"): Estimate(4.0, 3.0, 5.0, 0.5, 9, 10, 1)})
    table = beside("t", "T", LEAD, [one, two], ["A note."])
    assert [c.key for c in table.columns] == ["model", "x", "x2"]
    assert [row[0] for row in table.rows] == ["a", "b", "c"]
    assert table.rules == (2,)
    lines = to_markdown(table).splitlines()
    assert lines[2:5] == [
        "| a | 1.0 | – |",
        "| b | 2.0\\~ | 3.0\\* |",
        "| c | 4.0 \\[3.0, 5.0\\] 9/10 | – |",
    ]
    assert table.notes[0].startswith("No mark: as published. * derived here")
    assert "~ read off a figure by eye" in table.notes[0]
    assert r"2.0\textasciitilde{}" in to_latex(table)


def test_the_csv_has_a_line_per_number_with_its_origin() -> None:
    one = block("published", {("a", "x"): quoted(1.0, 1), ("b", "x"): quoted(None, 1)})
    two = block("run r", {("c", "x"): Estimate(4.0, 3.0, 5.0, 0.5, 9, 10, 1)})
    frame = beside("t", "T", LEAD, [one, two], []).frame()
    assert frame["source"].tolist() == ["published", "published", "run r"]
    assert frame["origin"].tolist() == ["published", "published", "run"]
    assert frame["value"].isna().tolist() == [False, True, False]
    assert frame[["low", "high", "n", "total"]].iloc[2].tolist() == [3, 5, 9, 10]


def test_a_table_of_texts_has_a_line_per_row() -> None:
    frame = pd.DataFrame({"model": ["a", "b"]})
    assert beside("t", "T", LEAD, [printed(frame, ["model"], [])], []).frame()["model"].tolist() == ["a", "b"]


def test_a_column_of_a_run_has_one_number_of_decimals() -> None:
    entries: dict[tuple[str, str], Entry] = {
        ("a", "x"): Estimate(0.0, 0.0, 12.2, None, 60, 60, 1),
        ("b", "x"): Estimate(20.0, 10.0, 30.0, 5.0, 60, 60, 1),
        ("c", "x"): None,
    }
    found = evened(entries)
    assert list(found) == [("a", "x"), ("b", "x")]
    assert {e.decimals for e in found.values() if isinstance(e, Estimate)} == {1}
