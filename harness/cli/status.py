"""`harness status`."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from harness.cli._options import RESULTS, Format, Results
from harness.core.errors import HarnessError


def status(
    run: Annotated[str, typer.Argument(help="A run's name or folder; all runs by default.")] = "",
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Go on showing it: stages by kind, what runs and its loss, judge calls, USD."),
    ] = False,
    results: Results = RESULTS,
    format_: Format = "table",
) -> None:
    """Show how far a run is: every stage done, running, partial, failed or waiting.

    Examples:

        harness status quickstart

        harness status quickstart --watch
    """
    if watch:
        _watch(results, run)
        return
    from harness.cli._output import emit
    from harness.plan.status import all_runs, possibly_paid_twice, stages_of
    from harness.store.store import Store

    emit(stages_of(results, run) if run else all_runs(results), format_)
    if line := possibly_paid_twice(Store(results / "store")):
        print(line, file=sys.stderr)


def _watch(results: Path, run: str) -> None:
    from harness.cli._watch import watch

    if not run:
        raise HarnessError("which run?", where="--watch", fix="Name it: harness status RUN --watch")
    with suppress(KeyboardInterrupt):
        watch(results, run)
