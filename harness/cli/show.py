"""`harness show`."""

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import RESULTS, Results

if TYPE_CHECKING:
    from harness.api.opened import Run


def show(
    run: Annotated[str, typer.Argument(help="A run's name or folder.", show_default=False)],
    results: Results = RESULTS,
) -> None:
    """Print a run's summary: scores, the differences that are shown, warnings, time and money, and where its pages are.

    Example: harness show quickstart
    """
    from harness.api.opened import open_run

    show_run(open_run(run, results))


def show_run(run: "Run") -> None:
    """Print the summary of an opened run."""
    from harness.cli._summary import draw

    pages = run.pages or [page for page in (run.folder / "report.html", run.folder / "teachers.html") if page.exists()]
    draw(run.summary, pages)
