"""`harness scores`."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import RESULTS, Format, Results


def scores(
    run: Annotated[str, typer.Argument(help="A run's name or folder.", show_default=False)],
    results: Results = RESULTS,
    format_: Format = "table",
    all_: Annotated[bool, typer.Option("--all", help="Every category, not only the overall scores.")] = False,
    every_eval_ever: Annotated[
        Path | None,
        typer.Option(help="Write them into this folder as records of Every Eval Ever 0.3, and print their paths."),
    ] = None,
    organization: Annotated[str, typer.Option(help="Who ran the evaluation, for those records.")] = "unknown",
) -> None:
    """Print a run's scores, one row per cell, metric and category.

    Examples:

        harness scores quickstart --format csv

        harness scores quickstart --every-eval-ever records --organization my-lab
    """
    from harness.api.opened import open_run
    from harness.cli.output import emit
    from harness.record.tables import COMPLETE, COMPLETE_N, SHARES

    opened = open_run(run, results)
    if every_eval_ever is not None:
        from harness.report.every_eval_ever import write_records

        print("\n".join(map(str, write_records(opened.data, every_eval_ever, organization))))
        return
    frame = opened.scores
    everything = all_ or format_ != "table"
    if format_ == "table":
        told = [name for name in (*SHARES, COMPLETE, COMPLETE_N) if name in frame]
        frame = frame.drop(columns=[name for name in told if frame[name].isna().all()])
    emit(frame if everything else frame[frame["category"] == "overall"], format_)
