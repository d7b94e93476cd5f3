"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Results = Annotated[Path, typer.Option("--results", help="The folder of store and runs.", envvar="HARNESS_RESULTS")]
RESULTS = Path("results")
Format = Annotated[str, typer.Option("--format", help="table, csv or json (json on stdout alone).")]
RecipeFile = Annotated[Path, typer.Argument(help="A recipe's YAML file.", show_default=False)]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting: key.path=value; may be given more than once.", metavar="KEY=VALUE"),
]
