"""`harness scores`."""

from typing import Annotated

import typer

from harness.cli.options import RESULTS, Format, Results


def scores(
    run: Annotated[str, typer.Argument(help="A run's name or folder.", show_default=False)],
    results: Results = RESULTS,
    format_: Format = "table",
    all_: Annotated[bool, typer.Option("--all", help="Every category, not only the overall scores.")] = False,
) -> None:
    """Print a run's scores, one row per cell, metric and category.

    Example: harness scores quickstart --format csv
    """
    from harness.api.opened import open_run
    from harness.cli.output import emit
    from harness.record.tables import COMPLETE, COMPLETE_N, SHARES

    frame = open_run(run, results).scores
    everything = all_ or format_ != "table"
    if format_ == "table":
        told = [name for name in (*SHARES, COMPLETE, COMPLETE_N) if name in frame]
        frame = frame.drop(columns=[name for name in told if frame[name].isna().all()])
    emit(frame if everything else frame[frame["category"] == "overall"], format_)
