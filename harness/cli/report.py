"""`harness report`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli._options import RESULTS, Results


def report(
    run: Annotated[str, typer.Argument(help="A run's name or folder.", show_default=False)],
    results: Results = RESULTS,
    out: Annotated[Path | None, typer.Option(help="Where to write; the run's own folder by default.")] = None,
) -> None:
    """Write a run's report again: report.html (teachers.html), Markdown, tables and figures. Prints the pages' paths.

    Example: harness report quickstart --out reports/quickstart
    """
    from harness.record.folder import find_run
    from harness.report.pages import render

    folder = find_run(results, run).path
    print(f"reading {folder}", file=sys.stderr)
    print("\n".join(map(str, render(folder, out or folder))))
