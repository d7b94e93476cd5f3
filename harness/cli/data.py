"""`harness data`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Public data sets that are not ours to ship.", no_args_is_help=True)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="The data set, e.g. mt_bench.", show_default=False)],
    folder: Annotated[Path, typer.Option("--to", help="Folder to put it in.")] = Path("data"),
) -> None:
    """Fetch a data set and check its content.

    Example: harness data pull mt_bench
    """
    from harness.data.pull import pull as fetch

    for path in fetch(name, folder):
        print(path)


@app.command()
def ls() -> None:
    """List the data sets that can be fetched.

    Example: harness data ls
    """
    from harness.data.pull import SETS

    for name, parts in SETS.items():
        print(f"{name}: {', '.join(part.name for part in parts)}")
