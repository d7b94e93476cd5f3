"""Every page of a run: its report, and its teachers' page where it scored any."""

from pathlib import Path

from harness.record.teachers import RECORD
from harness.report import run_page, teacher_page
from harness.report.load import load_run
from harness.report.teachers import load_teachers


def render(folder: Path, out: Path) -> list[Path]:
    """Write the pages of a run folder into `out`; returns their paths.

    Raises:
        HarnessError: a file of the run is missing or does not fit.
    """
    pages = [run_page.render(folder, out)] if load_run(folder).metrics else []
    if (folder / RECORD).exists():
        pages.append(teacher_page.render(load_teachers(folder), out))
    return pages
