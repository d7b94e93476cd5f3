"""`harness compare`."""

import sys
from typing import Annotated

import typer

from harness.cli.options import RESULTS, Format, Results


def compare(
    run: Annotated[str, typer.Argument(help="A run's name or folder.", show_default=False)],
    other: Annotated[
        str | None, typer.Argument(help="Another run: each cell is compared with its cell of that name.")
    ] = None,
    results: Results = RESULTS,
    baseline: Annotated[
        str | None,
        typer.Option(help="A row, a single cell, or labels such as method=sft; the run's first baseline by default."),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            help="Fail unless it holds: '[METRIC:] better', 'not worse', 'not worse than 0.5', 'METRIC >= +2' (the "
            "whole interval of the difference), or 'incomplete within 5' (the shares of answers that were cut, are "
            "empty or never left their thinking differ by 5 percentage points at most)."
        ),
    ] = None,
    format_: Format = "table",
) -> None:
    """Compare a run's cells with a baseline, or with another run's: paired differences, intervals, corrected p, and
    what could have been seen.

    Examples:

        harness compare quickstart

        harness compare quickstart --baseline method=sft --require 'mt_bench: not worse than 0.5'

        harness compare after before --require 'domain_score >= +2'
    """
    from harness.api.opened import open_run
    from harness.cli.output import emit
    from harness.report.render_table import readable

    compared = open_run(run, results).compare(baseline, other=open_run(other, results) if other is not None else None)
    for warning in compared.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    emit(readable(compared.table) if format_ == "table" else compared.frame, format_)
    if format_ == "table":
        print("\n".join(compared.table.notes), file=sys.stderr)
    broken = [f"{requirement}: {line}" for requirement in require or [] for line in compared.broken(requirement)]
    for line in broken:
        print(f"does not hold: {line}", file=sys.stderr)
    if broken:
        raise typer.Exit(1)
