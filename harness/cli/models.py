"""`harness models`."""

import typer

from harness.cli._options import RESULTS, Format, Results

app = typer.Typer(help="Models by reference.", no_args_is_help=True)


@app.command()
def ls(results: Results = RESULTS, format_: Format = "table") -> None:
    """List the models at hand: installed packages, the hub's cache, and what the store's stages made.

    Example: harness models ls
    """
    import pandas as pd

    from harness.cli._output import emit
    from harness.models.inventory import cached, installed
    from harness.stages.inventory import stored
    from harness.store.store import Store

    rows = [*installed(), *cached(), *stored(Store(results / "store"))]
    emit(pd.DataFrame(rows, columns=["reference", "where", "size_mb"]), format_)
