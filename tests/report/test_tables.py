from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from harness.core.errors import HarnessError
from harness.report.comparisons import axis_comparisons, compare, comparisons, require
from harness.report.groups import against, group_cells
from harness.report.load import RunData, load_run
from harness.report.measure import COVERAGE, ONE_SEED, SEEDS, UNCALIBRATED, Estimate, Measures
from harness.report.render_table import to_csv, to_latex, to_markdown
from harness.report.tables import Column, Table, category_table, headline_table
from harness.stats.multiplicity import holm

LOST = "teacher=small,method=sft,seed=1"


@pytest.fixture(scope="module")
def run(run_folder: Path) -> RunData:
    return load_run(run_folder)


def by_name(table: Table) -> dict[str, tuple[object, ...]]:
    return {" ".join(str(e) for e in row[:2]).strip(): row for row in table.rows}


def test_seeds_are_one_row_and_their_mean_is_the_score(run: RunData) -> None:
    table = headline_table(run, Measures(run))
    assert list(by_name(table)) == ["student", "teacher", "large sft", "large kd", "small sft", "small kd"]
    shown = by_name(table)["large kd"][2]
    scores = run.scores
    mine = scores["cell"].str.startswith("teacher=large,method=kd") & (scores["benchmark"] == "mt_bench")
    values = scores.loc[mine & (scores["category"] == "overall"), "value"]
    assert isinstance(shown, Estimate)
    assert len(values) == 3
    assert shown.value == pytest.approx(values.mean())
    assert (shown.n, shown.total, shown.seeds) == (240, 240, 3)
    assert shown.low is not None
    assert shown.high is not None
    assert shown.low < values.mean() < shown.high
    assert shown.marks == (UNCALIBRATED,)


def test_percent_scores_use_wilson_and_stay_between_0_and_100(run: RunData) -> None:
    measures = Measures(run)
    domain = run.metrics[2]
    student = measures.estimate(group_cells(run)[0], domain)
    assert student is not None
    assert student.value is not None
    assert student.low is not None
    assert student.high is not None
    assert 0 < student.low < student.value < student.high < 100
    # Lopsided towards the middle, as a share near an end must be.
    assert student.high - student.value > student.value - student.low


def test_a_score_below_the_coverage_floor_is_marked_and_neither_ranked_nor_tested(
    fake_run: ModuleType, tmp_path: Path
) -> None:
    best = "teacher=large,method=kd"
    lost = {f"{best},seed=1": 3}
    run = load_run(fake_run.Fake(questions=16, tasks=8, lost=lost).write(tmp_path))
    measures = Measures(run)
    table = headline_table(run, measures)
    shown = by_name(table)["large kd"][2]
    assert isinstance(shown, Estimate)
    assert COVERAGE in shown.marks
    assert (shown.n, shown.total) == (93, 96)
    assert shown.value is not None
    assert not shown.best
    assert sum(isinstance(row[2], Estimate) and row[2].best for row in table.rows) == 1
    tested = {(c.group.name, c.metric.metric): c for c in comparisons(run, measures)}
    assert tested[best, "score"].verdict == "not tested"
    assert tested[best, "score"].p is None
    assert tested[best, "general"].p is not None
    assert any("fewer samples" in note for note in table.notes)


def test_a_failed_seed_is_marked_and_the_others_are_averaged(fake_run: ModuleType, tmp_path: Path) -> None:
    run = load_run(fake_run.Fake(questions=8, tasks=4, failed={LOST: "out of memory"}).write(tmp_path))
    shown = by_name(headline_table(run, Measures(run)))["small sft"][2]
    assert isinstance(shown, Estimate)
    assert SEEDS in shown.marks
    assert shown.seeds == 2


def test_cells_that_share_their_stages_are_one_replicate(run: RunData) -> None:
    group = group_cells(run)[2]
    twice = [c.__class__(**{**c.__dict__, "stages": ("same",)}) for c in group.cells]
    assert group.__class__(group.name, group.labels, tuple(twice)).replicates() == [group.cells[0].cell]
    assert len(group.replicates()) == 3


def test_category_table_has_turns_and_categories(run: RunData) -> None:
    table = category_table(run, Measures(run), run.metrics[0])
    assert table is not None
    assert [c.key for c in table.columns[2:4]] == ["turn_1", "turn_2"]
    assert "writing" in [c.key for c in table.columns]
    first = table.rows[2][2]
    mine = run.samples["cell"].str.startswith("teacher=large,method=sft") & (run.samples["benchmark"] == "mt_bench")
    assert isinstance(first, Estimate)
    assert first.value == pytest.approx(run.samples.loc[mine & (run.samples["turn"] == 1), "value"].mean())


def test_comparisons_are_corrected_over_the_whole_table(run: RunData) -> None:
    found = comparisons(run, Measures(run))
    assert len(found) == 4 * 3
    assert {c.base.name for c in found} == {"student"}
    raw = [c.difference.p if c.difference else None for c in found]
    assert [c.p for c in found] == holm(raw)
    assert all(c.verdict == "better" for c in found if c.metric.metric == "score")


def test_labels_compare_each_row_with_the_one_that_differs_only_there(run: RunData) -> None:
    pairs = [(g.name, b.name) for g, b in against(run, "method=sft")]
    assert pairs == [
        ("teacher=large,method=kd", "teacher=large,method=sft"),
        ("teacher=small,method=kd", "teacher=small,method=sft"),
    ]


def test_what_an_axis_changes_is_asked_of_the_sweep_whatever_a_baseline_is_called(
    fake_run: ModuleType, tmp_path: Path
) -> None:
    """An untrained teacher of an axis is a baseline called `teacher=large`, as a label of the sweep is."""
    fake = fake_run.Fake()
    fake.cells[1] = replace(fake.cells[1], cell="teacher=large")
    run = load_run(fake.write(tmp_path))
    tests = axis_comparisons(run, Measures(run))["teacher"]
    assert {(c.group.name, c.base.name) for c in tests} == {
        ("teacher=small,method=sft", "teacher=large,method=sft"),
        ("teacher=small,method=kd", "teacher=large,method=kd"),
    }


def test_a_single_cell_is_compared_with_every_single_cell(run: RunData) -> None:
    table = compare(run, "teacher=large,method=kd,seed=0")
    assert len(table.rows) == 11 * 3
    shown = table.rows[0][3]
    assert isinstance(shown, Estimate)
    assert ONE_SEED in shown.marks
    assert any("between these checkpoints" in note for note in table.notes)


def test_a_row_by_name_is_a_baseline_and_an_unknown_one_is_an_error(run: RunData) -> None:
    assert {b.name for _, b in against(run, "teacher=large,method=sft")} == {"teacher=large,method=sft"}
    assert {b.name for _, b in against(run, "teacher")} == {"teacher"}
    with pytest.raises(HarnessError, match="no cell or label 'method=dae'"):
        against(run, "method=dae")


def test_a_score_that_is_no_mean_of_samples_is_compared_by_its_own_error(run: RunData) -> None:
    # As a group's mean of its tasks' means: it has standard errors, and no samples that average to it.
    odd = run.scores.assign(value=run.scores["value"] + 1.0)
    measures = Measures(replace(run, scores=odd))
    metric = replace(run.metrics[1], mean=False)
    student, large = group_cells(run)[0], group_cells(run)[3]
    shown, paired = measures.estimate(large, metric), Measures(run).difference(large, student, run.metrics[1])
    unpaired = measures.difference(large, student, metric)
    assert shown is not None
    assert shown.stderr is not None
    assert shown.stderr > 0
    assert unpaired is not None
    assert paired is not None
    assert unpaired.value == pytest.approx(paired.value)
    assert unpaired.stderr is not None
    assert paired.stderr is not None
    assert unpaired.stderr >= paired.stderr * 0.9


def test_requirements(run: RunData) -> None:
    found = comparisons(run, Measures(run))
    assert require(found, "mt_bench: better") == []
    assert require(found, "not worse") == []
    worse = comparisons(run, Measures(run), "teacher=large,method=kd")
    assert require(worse, "score: better")
    assert require(worse, "score: not worse than 100") == []
    assert require(worse, "score: not worse than 0.01")
    assert require(found, "score >= +0.01") == []
    assert require(found, "mt_bench >= 5"), "the whole interval must lie there, not its middle"
    assert require(worse, "score <= 0.5") == []
    assert require(worse, "score >= -0.01")
    for bad in ("best", "elsewhere: better", "not worse than much", "elsewhere >= 2", "score >= much", "score > 2"):
        with pytest.raises(HarnessError, match="cannot read the requirement"):
            require(found, bad)


def test_csv_holds_everything_at_full_precision(run: RunData) -> None:
    table = headline_table(run, Measures(run))
    frame = pd.read_csv(StringIO(to_csv(table)))
    assert len(frame) == 6
    shown = by_name(table)["large kd"][2]
    assert isinstance(shown, Estimate)
    row = frame[(frame["teacher"] == "large") & (frame["method"] == "kd")].iloc[0]
    assert row["mt_bench_score"] == pytest.approx(shown.value, rel=1e-12)
    assert row["mt_bench_score_n"] == 240
    assert row["mt_bench_score_marks"] == "uncalibrated"


def hostile(text: str) -> Table:
    estimate = Estimate(1.234, 1.0, 1.5, 0.1, 3, 4, 1, ("coverage",))
    return Table("t", text, (Column("a", text), Column("b", "b", "%", "estimate")), ((text, estimate),), (text,))


def test_latex_escapes_and_is_balanced() -> None:
    text = to_latex(hostile(r"50%_\input{x} & $y$ # ~^"))
    assert r"50\%\_\textbackslash{}input\{x\} \& \$y\$ \# \textasciitilde{}\textasciicircum{}" in text
    assert r"1.23\dag{} {\footnotesize [1.00, 1.50] 3/4}" in text
    assert text.count(r"\begin") == text.count(r"\end") == 2


def test_markdown_escapes_links_pipes_and_tags() -> None:
    text = to_markdown(hostile("[x](javascript:alert(1)) | <script> **b**\nnew line"))
    row = text.splitlines()[2]
    assert "](" not in row.replace(r"\]\(", "")
    assert r"\|" in row
    assert "<script>" not in text.replace(r"\<script\>", "")
    assert "1.23† \\[1.00, 1.50\\] 3/4" in row


def test_numbers_have_the_digits_of_their_errors(run: RunData) -> None:
    text = to_markdown(headline_table(run, Measures(run)))
    assert "240/240" in text
    assert not np.any([len(word.split(".")[-1]) > 3 for word in text.split() if word.startswith("[")])


def test_a_run_in_which_nothing_was_right_has_wilsons_interval(run: RunData) -> None:
    """The metric says that its samples are hits and misses: zeros alone would not."""
    metric = run.metrics[2]
    mine = run.scores["metric"] == metric.metric
    nothing = replace(
        run,
        samples=run.samples.assign(value=run.samples["value"].where(run.samples["metric"] != metric.metric, 0.0)),
        scores=run.scores.assign(value=run.scores["value"].where(~mine, 0.0)),
    )
    shown = Measures(nothing).estimate(group_cells(run)[0], metric)
    assert shown is not None
    assert shown.value == shown.low == 0
    assert shown.high is not None
    assert 0 < shown.high < 15


def test_a_score_that_is_not_the_mean_it_declares_to_be_is_an_error(run: RunData) -> None:
    measures = Measures(replace(run, scores=run.scores.assign(value=run.scores["value"] + 1.0)))
    with pytest.raises(HarnessError, match="pocket: general of student is not the mean of its samples"):
        measures.estimate(group_cells(run)[0], run.metrics[1])
