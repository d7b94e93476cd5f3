"""Two runs compared cell by cell: paired over common questions, and what differs in how they were judged is said."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.report.comparisons import comparisons
from harness.report.joined import join_runs
from harness.report.load import RunData, load_run
from harness.report.measure import Measures


@pytest.fixture(scope="module")
def run(run_folder: Path) -> RunData:
    return load_run(run_folder)


def test_a_planted_effect_is_found_and_an_equal_run_is_not_called_different(run: RunData) -> None:
    again = replace(run, name="again")
    same = join_runs(run, again)
    found = [c for c in comparisons(same, Measures(same)) if c.difference is not None]
    assert found
    assert {c.base.name.partition(",")[0] for c in found} == {"run=again"}
    assert all(c.difference is not None and c.difference.value == 0 for c in found)
    assert not {c.verdict for c in found} & {"better", "worse"}

    tables = {name: getattr(run, name).assign(value=getattr(run, name)["value"] - 1) for name in ("samples", "scores")}
    planted = join_runs(run, replace(again, **tables))
    mt_bench = [c for c in comparisons(planted, Measures(planted)) if c.metric.benchmark == "mt_bench"]
    assert mt_bench
    for c in mt_bench:
        assert c.difference is not None
        assert c.difference.value == pytest.approx(1)


def test_baselines_stay_out_and_names_may_be_equal(run: RunData) -> None:
    joined = join_runs(run, run)
    assert joined.axes["run"] == (f"{run.name} (1)", f"{run.name} (2)")
    swept = [c for c in run.cells if not c.baseline]
    assert len(joined.cells) == 2 * len(swept)
    assert len({c.cell for c in joined.cells}) == len(joined.cells)


def test_what_differs_is_said_and_what_cannot_be_compared_is_refused(run: RunData) -> None:
    judges = tuple(replace(j, judge="another") for j in run.judges)
    versions = {**run.versions, "torch": "1.0"}
    warnings = join_runs(run, replace(run, judges=judges, versions=versions)).warnings
    assert any("another" in w for w in warnings)
    assert join_runs(run, run).warnings == ()
    with pytest.raises(HarnessError, match="different axes"):
        join_runs(run, replace(run, axes={"other": ("a",)}))
    with pytest.raises(HarnessError, match="share no metric"):
        join_runs(run, replace(run, metrics=()))
    with pytest.raises(HarnessError, match="share no cell"):
        join_runs(run, replace(run, cells=()))
