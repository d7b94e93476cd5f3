"""`harness report`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import RESULTS, Results


def report(
    run: Annotated[str, typer.Argument(help="A run's name or folder.", show_default=False)],
    results: Results = RESULTS,
    out: Annotated[Path | None, typer.Option(help="Where to write; the run's own folder by default.")] = None,
) -> None:
    """Write a run's report again: report.html (teachers.html), Markdown, tables and figures. Prints the pages' paths.

    Example: harness report quickstart --out reports/quickstart
    """
    from harness.api.opened import open_run

    opened = open_run(run, results)
    print(f"reading {opened.folder}", file=sys.stderr)
    print("\n".join(map(str, opened.write_report(out))))
