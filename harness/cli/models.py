"""`harness models`."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import RESULTS, Format, Results

app = typer.Typer(help="Models by reference.", no_args_is_help=True)


@app.command()
def ls(results: Results = RESULTS, format_: Format = "table") -> None:
    """List the models at hand: installed packages, the hub's cache, and what the store's stages made, with the cells
    that ended in them.

    Example: harness models ls
    """
    import pandas as pd

    from harness.cli.output import emit
    from harness.models.inventory import cached, installed
    from harness.record.folder import models_of_runs
    from harness.stages.inventory import stored
    from harness.store.store import Store

    cells = models_of_runs(results)
    made = [row | {"cells": "; ".join(cells.get(place, ()))} for place, row in stored(Store(results / "store"))]
    rows = [*installed(), *cached(), *made]
    emit(pd.DataFrame(rows, columns=["cells", "where", "size_mb", "reference"]).fillna({"cells": ""}), format_)


@app.command()
def inspect(
    folders: Annotated[list[Path], typer.Argument(help="Hugging Face folders, e.g. a run's artifacts.")],
    format_: Format = "table",
) -> None:
    """Show the class, layers, experts and parameters (all, and those that one token meets) of model folders.

    Example: harness models inspect results/store/artifacts/ID
    """
    import pandas as pd

    from harness.cli.output import emit
    from harness.models.inventory import inspected

    emit(pd.DataFrame([{"folder": str(folder)} | inspected(folder) for folder in folders]).astype(object), format_)
