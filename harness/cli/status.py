"""`harness status`."""

import sys
from typing import Annotated

import typer

from harness.cli._options import RESULTS, Format, Results


def status(
    run: Annotated[str, typer.Argument(help="A run's name or folder; all runs by default.")] = "",
    results: Results = RESULTS,
    format_: Format = "table",
) -> None:
    """Show how far a run is: every stage done, running, partial, failed or waiting.

    Example: harness status quickstart
    """
    from harness.cli._output import emit
    from harness.plan.status import all_runs, possibly_paid_twice, stages_of
    from harness.store.store import Store

    emit(stages_of(results, run) if run else all_runs(results), format_)
    if line := possibly_paid_twice(Store(results / "store")):
        print(line, file=sys.stderr)
