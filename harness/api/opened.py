"""What runs left, as typed objects and tables."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from harness.api.recipes import results_folder
from harness.core.errors import HarnessError
from harness.core.plugins import VARIABLE, named_files, plugged
from harness.record.folder import RunFolder, find_run, read_plan, read_scores
from harness.record.summary import warnings
from harness.run.status import all_runs

if TYPE_CHECKING:
    from harness.plan.build import Plan
    from harness.report.comparisons import Comparison
    from harness.report.load import RunData
    from harness.report.summary import Summary
    from harness.report.tables import Table
    from harness.report.teachers import TeacherData
    from harness.run.execute import Outcome


@dataclass(frozen=True)
class Comparisons:
    """Rows against a baseline: one family of paired tests, corrected together (Holm)."""

    rows: "Sequence[Comparison]"
    """One test each, with its difference, corrected p, what it could have seen, and a verdict in words."""
    table: "Table"
    """The tests as a report shows them, with its notes."""
    warnings: Sequence[str]
    """What else may have made the rows, or two compared runs, differ."""

    @property
    def frame(self) -> pd.DataFrame:
        """A row per test: cell, baseline, metric, difference and its interval, p_holm, mde, verdict."""
        return self.table.frame()

    def broken(self, requirement: str) -> list[str]:
        """What breaks a requirement such as `mt_bench: not worse than 0.5` (see `harness compare --help`), one line a
        test; empty where the requirement holds.

        Raises:
            HarnessError: the requirement cannot be read.
        """
        from harness.report.comparisons import require

        return require(list(self.rows), requirement)


@dataclass(frozen=True)
class Run:
    """A run's folder, opened. Tables are read when they are first asked for."""

    folder: Path
    plan: "Plan | None" = None
    """What the call that ran it has planned; None of a run that was only opened."""
    outcome: "Outcome | None" = None
    """What that call has done: stages that were built, found, failed (stage id -> why) or blocked."""
    notes: Sequence[str] = ()
    """What that call has to say, e.g. whose weights it removed."""
    pages: Sequence[Path] = ()
    """The pages that it left."""

    @cached_property
    def data(self) -> "RunData":
        """All that a report is made from: cells, metrics, judges, costs and the tables below.

        Raises:
            HarnessError: a file of the run is missing or does not fit.
        """
        from harness.report.load import load_run

        return load_run(self.folder)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row per cell, metric and category: labels, value, stderr, n, total."""
        return read_scores(RunFolder(self.folder))

    @property
    def samples(self) -> pd.DataFrame:
        """A row per cell, item, turn and repeat: value (null where it failed) and status."""
        return self.data.samples

    @property
    def transcripts(self) -> pd.DataFrame:
        """A row per judged turn: question, answer, reference, verdict, value."""
        return self.data.transcripts

    @property
    def curves(self) -> pd.DataFrame:
        """A row per training step and metric, e.g. its loss."""
        return self.data.curves

    @property
    def warnings(self) -> list[str]:
        """What a reader of the run must know."""
        return warnings(RunFolder(self.folder))

    @property
    def summary(self) -> "Summary":
        """What a person wants to know first: scores, the differences that are shown, warnings, time and money.

        Raises:
            HarnessError: a file of the run is missing or does not fit.
        """
        from harness.report.summary import summary

        return summary(self.data)

    @cached_property
    def teachers(self) -> "TeacherData":
        """Its teachers: `board` is the leaderboard, a row per student base, teacher and score.

        Raises:
            HarnessError: the run has no teacher scores.
        """
        from harness.report.teachers import load_teachers

        with self.with_plugins():
            data = load_teachers(self.folder)
            _ = data.board, data.sweep  # while the plug-ins are there that a score may come from
        return data

    def compare(self, baseline: str | None = None, *, other: "Run | None" = None) -> Comparisons:
        """Compare each row with a baseline, or each cell with the cell of its name in another run.

        `baseline` names a row, a single cell, or labels such as `method=sft` (each row is compared with the row that
        differs from it only there); by default it is what the recipe says, else the run's first baseline.

        Raises:
            HarnessError: no row is called so; the two runs share no cell or no metric.
        """
        from harness.report.comparisons import comparison_table, comparisons, unlike
        from harness.report.joined import join_runs
        from harness.report.measure import Measures

        data = self.data if other is None else join_runs(self.data, other.data)
        rows = comparisons(data, Measures(data), baseline)
        differ = data.warnings if other is not None else ()
        return Comparisons(rows, comparison_table(data, rows), (*differ, *unlike(rows)))

    def validate_teachers(self) -> pd.DataFrame:
        """Hold the teacher scores against what the students trained on each teacher achieved.

        Raises:
            HarnessError: the run has no teacher scores, or no student was trained on these teachers.
        """
        from harness.report.teachers import validation

        with self.with_plugins():
            return validation(self.teachers)

    def write_report(self, out: Path | None = None) -> list[Path]:
        """Write the report's pages, tables and figures into `out`, by default the run's folder; returns the pages."""
        from harness.report.pages import render

        with self.with_plugins():
            return render(self.folder, out or self.folder)

    def write_teachers_page(self, out: Path | None = None) -> Path:
        """Write the page and the tables of its teachers alone; returns the page."""
        from harness.report.teacher_page import render

        with self.with_plugins():
            return render(self.teachers, out or self.folder)

    def with_plugins(self) -> AbstractContextManager[object]:
        """With the plug-ins of the call that ran it. A folder may be a stranger's: none is imported because it says so.

        Raises:
            HarnessError: a run that was only opened used plug-ins that nobody names here.
        """
        if self.plan is not None:
            return plugged(self.plan.recipe.plugins)
        used = read_plan(RunFolder(self.folder)).get("plugins", ())
        if unnamed := [file for file in used if Path(file) not in named_files()]:
            what = f"the run used plug-ins that are not named here: {', '.join(unnamed)}"
            fix = f"If you trust them, set {VARIABLE}={os.pathsep.join(used)}."
            raise HarnessError(what, where=str(self.folder), fix=fix)
        return plugged(())


def open_run(name: str | Path, results: str | Path | None = None) -> Run:
    """Open a run that is there, by its name in the results folder or by its folder.

    >>> from harness import load_recipe, run_recipe
    >>> finished = run_recipe(load_recipe({
    ...     "name": "untrained",
    ...     "student": "pocket:llama?layers=1&width=16&heads=2",
    ...     "evaluate": [{"pocket": {}}],
    ... }))
    >>> run = open_run("untrained")
    >>> [(judge.benchmark, judge.judge) for judge in run.data.judges]
    [('pocket', 'program:pocket')]
    >>> run.samples["status"].unique().tolist()
    ['ok']

    Raises:
        HarnessError: no such run; the message names those that are there.
    """
    return Run(find_run(results_folder(results), str(name)).path)


def list_runs(results: str | Path | None = None) -> pd.DataFrame:
    """A row per run of the results folder: run, cells, stages, done."""
    return all_runs(results_folder(results))
