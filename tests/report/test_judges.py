"""What a report says of judges that were calibrated, that were not, and that are of no use."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.record.run import JudgeRecord
from harness.report import facts
from harness.report.comparisons import comparisons
from harness.report.load import RunData, load_run
from harness.report.measure import UNCALIBRATED, UNINFORMATIVE, Estimate, Measures
from harness.report.render_table import to_latex, to_markdown
from harness.report.run_page import render
from harness.report.tables import Table, headline_table

NOTE = "Spearman 0.05 [−0.04, 0.16] with gpt-4 on 320 verdicts, 2026-11-21"


def folder(fake_run: ModuleType, path: Path, **judge: Any) -> Path:
    mine = JudgeRecord(benchmark="mt_bench", judge="tiny", protocol="rating", calibrated=True, note=NOTE)
    record = {"judges": (replace(mine, **judge),)}
    written: Path = fake_run.Fake(questions=16, tasks=16, record=record).write(path)
    return written


def column(table: Table, key: str) -> list[Estimate]:
    place = [c.key for c in table.columns].index(key)
    return [e for row in table.rows if isinstance(e := row[place], Estimate)]


def verdicts(run: RunData, measures: Measures) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for c in comparisons(run, measures):
        found.setdefault(c.metric.benchmark, set()).add(c.verdict)
    return found


def test_a_calibrated_judge_has_its_note_and_no_mark(fake_run: ModuleType, tmp_path: Path) -> None:
    run = load_run(folder(fake_run, tmp_path))
    shown = column(headline_table(run, Measures(run)), "mt_bench_score")
    assert not {UNCALIBRATED, UNINFORMATIVE} & {mark for e in shown for mark in e.marks}
    assert any(e.best for e in shown)
    table = facts.judge_table(run)
    assert table is not None
    assert table.rows == (("MT-Bench", "tiny", "rating", "calibrated", NOTE),)
    assert not any("judge" in line for line in facts.warnings(run, Measures(run)))


def test_an_uninformative_judge_is_marked_everywhere_and_decides_nothing(fake_run: ModuleType, tmp_path: Path) -> None:
    run = load_run(folder(fake_run, tmp_path, uninformative=True))
    measures = Measures(run)
    table = headline_table(run, measures)
    shown = column(table, "mt_bench_score")
    assert all(UNINFORMATIVE in e.marks and not e.best and e.value is not None for e in shown)
    assert any(e.best for e in column(table, "pocket_domain")), "a program still ranks"
    assert verdicts(run, measures)["mt_bench"] == {"not tested"}
    assert verdicts(run, measures)["pocket"] != {"not tested"}
    assert f"the judge (tiny) is uninformative: {NOTE}" in " ".join(facts.warnings(run, measures))
    judges = facts.judge_table(run)
    assert judges is not None
    assert judges.rows[0][3] == "uninformative"
    assert "‖ the judge hardly agrees" in to_markdown(table)
    assert r"$\|$" in to_latex(table)
    assert "‖" not in to_latex(table)


@pytest.mark.parametrize(("uninformative", "word"), [(False, "calibrated"), (True, "uninformative")])
def test_the_page_shows_it(fake_run: ModuleType, tmp_path: Path, uninformative: bool, word: str) -> None:
    made = folder(fake_run, tmp_path, uninformative=uninformative)
    page = render(made, tmp_path / "out").read_text()
    assert NOTE in page
    assert ("‖" in page) is uninformative
    assert word in page
