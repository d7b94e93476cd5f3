"""What a verdict is about, in words and marks, and rows over draws."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.record.run import CellRecord
from harness.report.comparisons import compare, comparisons
from harness.report.facts import findings, reach_in_words
from harness.report.groups import group_cells
from harness.report.load import RunData, load_run
from harness.report.measure import ONE_DRAW, Measures
from harness.report.reach import reach
from harness.report.signal import signal_table
from harness.report.tables import metric_title
from harness.report.variance import variance_table
from tests.report.fake_run import Fake


def cell(**sources: str) -> CellRecord:
    return CellRecord("c", {}, False, None, sources=sources)


DRAWN = [cell(training=k, teacher=k, data=k) for k in "01"]


@pytest.mark.parametrize(
    ("rows", "words", "one_draw"),
    [
        ([[cell(training=k, data="d") for k in "01"]], "2 trainings; one sample of data", True),
        ([DRAWN], "2 trainings, 2 teachers, 2 samples of data", False),
        ([[cell(training="a", data="d")], [cell(training="b", data="d")]], "one training, one sample of data", True),
        # An untrained row has no source; of two rows the smaller number counts.
        ([DRAWN, [cell()]], "2 trainings, 2 teachers, 2 samples of data", False),
        ([DRAWN, [cell(teacher="a")]], "2 trainings, 2 samples of data; one teacher", True),
        ([[cell(teacher="t", responses=k) for k in "01"]], "2 samples of responses; one teacher", True),
        ([[cell()], [cell()]], "", False),
        # A base that this recipe made: all cells that are trained from it share its making.
        (
            [DRAWN, [replace(cell(training="b", data="d"), baseline=True)]],
            "2 trainings, 2 teachers; one sample of data",
            True,
        ),
    ],
)
def test_words(rows: list[list[CellRecord]], words: str, one_draw: bool) -> None:
    found = reach(rows)
    assert (found.words, found.one_draw) == (words, one_draw)


@pytest.fixture
def drawn(tmp_path: Path) -> RunData:
    """The fake run with its seeds as draws, a teacher for each."""
    run = load_run(Fake().write(tmp_path / "run"))

    def moved(record: CellRecord) -> CellRecord:
        draw = record.labels.get("seed")
        if draw is None:
            return record
        labels = {k: v for k, v in record.labels.items() if k != "seed"} | {"draw": draw}
        return replace(record, labels=labels, sources={"training": record.cell, "teacher": draw, "data": draw})

    axes = {("draw" if axis == "seed" else axis): labels for axis, labels in run.axes.items()}
    drawn = ("training", "data", "teacher")
    return replace(run, cells=tuple(map(moved, run.cells)), axes=axes, drawn=drawn, undrawn=("The judge is the same.",))


def test_rows_over_draws_are_paired_and_say_so(drawn: RunData) -> None:
    table = compare(drawn, "method=sft")
    frame = table.frame()
    assert set(frame["drawn"]) == {"3 trainings, 3 teachers, 3 samples of data"}
    assert (frame["new_draw_low"] < frame["difference_low"]).all()
    assert (frame["new_draw_high"] > frame["difference_high"]).all()
    assert not frame["difference_marks"].str.contains(ONE_DRAW).any()
    assert any("'A new draw'" in note for note in table.notes)
    (found, *_) = comparisons(drawn, Measures(drawn), "method=sft")
    assert found.difference is not None
    assert found.difference.draws == 3


def test_a_verdict_over_one_teacher_is_marked(drawn: RunData) -> None:
    same = tuple(replace(c, sources=c.sources and {**c.sources, "teacher": "t"}) for c in drawn.cells)
    run = replace(drawn, cells=same)
    table = compare(run, "method=sft")
    assert table.frame()["difference_marks"].eq(ONE_DRAW).all()
    assert any(note.startswith("△") for note in table.notes)
    compared = comparisons(run, Measures(run), "method=sft")
    words = reach_in_words(run, compared)
    assert "3 trainings, 3 samples of data; one teacher" in words
    assert "Marked △" in words
    assert words.endswith("The judge is the same.")
    assert all(
        "over 3 trainings, 3 samples of data; one teacher" in sentence for _, sentence in findings(run, compared)
    )


def test_signal_is_the_spread_of_rows_and_noise_that_of_draws(drawn: RunData) -> None:
    table = signal_table(drawn, Measures(drawn))
    assert table is not None
    assert [c.title for c in table.columns][-2] == "noise: sd between draws"
    scores = drawn.scores[(drawn.scores["category"] == "overall") & ~drawn.scores["baseline"]]
    frame = table.frame()
    assert list(frame["ratio"]) == sorted(frame["ratio"], reverse=True)
    for metric in drawn.metrics:
        named = frame[frame["metric"] == f"{metric_title(metric, drawn)} ({metric.unit})"]
        of_metric = scores[(scores["benchmark"] == metric.benchmark) & (scores["metric"] == metric.metric)]
        rows = of_metric["value"].astype(float).groupby(of_metric["cell"].str.replace(r",?seed=\d", "", regex=True))
        assert (named["rows"] == str(len(rows))).all()
        assert named["signal"].item() == pytest.approx(rows.mean().std())
        assert named["noise"].item() == pytest.approx(rows.var().mean() ** 0.5)


def test_without_replicates_there_is_no_noise_to_tell(drawn: RunData) -> None:
    alone = replace(drawn, cells=tuple(c for c in drawn.cells if c.labels.get("draw", "0") == "0"))
    assert signal_table(alone, Measures(alone)) is None


def test_where_the_uncertainty_comes_from(drawn: RunData) -> None:
    table = variance_table(drawn, comparisons(drawn, Measures(drawn), "method=sft"))
    assert table is not None
    assert [c.title for c in table.columns][2:] == ["questions", "draws (training, data, teacher)"]
    frame = table.frame()
    assert list(frame["questions"] + frame["replicates"]) == pytest.approx([100.0] * len(frame))
    assert "`draws: {of: [teacher]}`" in table.notes[1]
    assert variance_table(drawn, []) is None


def test_baselines_of_each_draw_are_one_row(drawn: RunData) -> None:
    student = next(c for c in drawn.cells if c.cell == "student")
    several = tuple(replace(student, cell=f"student,draw={d}", labels={"draw": str(d)}) for d in range(3))
    run = replace(drawn, cells=(*several, *(c for c in drawn.cells if c.cell != "student")))
    groups = [g for g in group_cells(run) if g.baseline]
    assert [(g.name, len(g.cells)) for g in groups] == [("student", 3), ("teacher", 1)]
