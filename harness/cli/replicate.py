"""`harness replicate`."""

import sys
from typing import Annotated

import typer

from harness.cli.options import RESULTS, Format, Plugins, Results


def replicate(
    run: Annotated[str, typer.Argument(help="A finished run's name or folder.", show_default=False)],
    results: Results = RESULTS,
    draw: Annotated[
        int | None, typer.Option(min=1, help="Which draw; by default the first that the run has not seen.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at the same time.")] = 1,
    plugins: Plugins = None,
    format_: Format = "table",
) -> None:
    """Run a finished run's recipe again with everything drawn anew (training, data, the teachers that it trains), and
    show both beside each other: which verdicts held.

    The new run is called NAME-draw-D, with a folder and a report of its own. Its judges cost what the run's did for one
    draw.

    Example: harness replicate quickstart --jobs 2
    """
    from harness.api.replicated import replicate as again
    from harness.cli import _progress
    from harness.cli.output import check_format, emit
    from harness.report.render_table import readable

    check_format(format_)
    with _progress.show() as listen:
        found = again(run, results=results, draw=draw, jobs=jobs, plugins=plugins or [], listen=listen)
    emit(readable(found.table) if format_ == "table" else found.table.frame(), format_)
    print("\n".join([*found.table.notes, f"report: {found.anew.folder / 'report.html'}"]), file=sys.stderr)
