"""`harness status`."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import RESULTS, Format, Results
from harness.core.errors import HarnessError

_MOST_ROWS = 200


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

    Of a run of more than 200 stages the table counts them and names those that are running, partial or failed;
    `--format csv` names all.

    Examples:

        harness status quickstart

        harness status quickstart --watch
    """
    if watch:
        _watch(results, run)
        return
    from harness.cli.output import emit
    from harness.run.status import all_runs, possibly_paid_twice, stages_of
    from harness.store.store import Store

    found = stages_of(results, run) if run else all_runs(results)
    if run and format_ == "table" and len(found) > _MOST_ROWS:
        _count(results, run)
        found = found[~found["state"].isin(["done", "waiting"])]
    if not found.empty or format_ != "table":
        emit(found, format_)
    if line := possibly_paid_twice(Store(results / "store")):
        print(line, file=sys.stderr)


def _count(results: Path, run: str) -> None:
    from rich import print as draw

    from harness.cli._watch import drawn
    from harness.run.progress import snapshot

    draw(drawn(snapshot(results, run)))


def _watch(results: Path, run: str) -> None:
    from harness.cli._watch import watch

    if not run:
        raise HarnessError("which run?", where="--watch", fix="Name it: harness status RUN --watch")
    with suppress(KeyboardInterrupt):
        watch(results, run)
