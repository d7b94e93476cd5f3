"""`harness export`."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import RESULTS, Results


def export(
    run: Annotated[str, typer.Argument(help="A run's name or folder.", show_default=False)],
    cell: Annotated[str, typer.Argument(help="A cell's name, or `best`, which --metric decides.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="A new folder.", show_default=False)],
    metric: Annotated[str, typer.Option(help="With `best`: the metric whose best mean it has.")] = "",
    push: Annotated[str, typer.Option(help="ORG/NAME of the Hugging Face hub to put the folder into (HF_TOKEN).")] = "",
    results: Results = RESULTS,
) -> None:
    """Take a cell's model away: a Hugging Face folder with a model card (scores with intervals, what it was made from,
    warnings), its recipe and provenance. Prints the folder's path; with --push the commit's address too.

    Examples:

        harness export quickstart teacher=strong,method=kd,data=x1,draw=0 student

        harness export quickstart best student --metric general_score

        harness export mine best student --metric score --push my-org/my-student
    """
    from harness.api.exported import export_cell
    from harness.api.exported import push as put_on_hub
    from harness.api.opened import open_run

    print(export_cell(open_run(run, results), cell, folder, results=results, metric=metric))
    if push:
        print(put_on_hub(folder, push))
