"""`harness data`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import RESULTS, Format, Plugins, RecipeOptions, Results, Sets

if TYPE_CHECKING:
    from harness.recipe.datasets import NamedData

app = typer.Typer(
    help="Data files: how they are read, and public sets that are not ours to ship.", no_args_is_help=True
)
Columns = Annotated[
    list[str] | None,
    typer.Option("--columns", help="USUAL=ACTUAL for a column of another name, e.g. response=reply.", metavar="COLUMN"),
]

Cell = Annotated[
    str | None, typer.Option("--cell", help="Of a recipe: the first cell whose name matches this glob.", metavar="CELL")
]


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A data file, or a recipe (.yaml) for all of its.", show_default=False)],
    columns: Columns = None,
    cell: Cell = None,
    set_: Sets = None,
    plugins: Plugins = None,
    results: Results = RESULTS,
    format_: Format = "table",
) -> None:
    """Show how data are read: columns used and not used, rows kept and skipped, the first conversation.

    A file is read whole, as a run reads it. Row numbers are of the file, from 1. What may change an example and is not
    used is told on stderr too, with the column that looks like a response where none was found.

    With --cell: what that cell of a recipe is trained on, as its model sees it. Token lengths, what is cut at
    max_length, near-duplicates, conversations with the trained text in ⟦ ⟧. Before a run a sample is encoded.

    Examples:

        harness data show chat.jsonl --columns response=reply

        harness data show recipes/quickstart.yaml --format json

        harness data show recipes/pocket-dae-ratio.yaml --cell '*'
    """
    import pandas as pd

    from harness.cli._data import looked
    from harness.cli.output import check_format, emit
    from harness.core.errors import HarnessError
    from harness.data.show import COLUMNS, clipped, table

    check_format(format_)
    if cell is not None:
        _show_cell(RecipeOptions(file, set_, plugins), cell, results, format_)
        return
    found = list(looked(_named(RecipeOptions(file, set_, plugins), columns or [])))
    rows = [row for one in found if not isinstance(one, HarnessError) for row in table(one.name, one.record, one.first)]
    if format_ == "table":
        rows = [row | {key: clipped(row[key]) for key in ("data", "name", "note")} for row in rows]
    emit(pd.DataFrame(rows, columns=list(COLUMNS)).astype({"rows": "Int64"}), format_)
    for one in found:
        for line in [str(one)] if isinstance(one, HarnessError) else [f"{one.name}: {note}" for note in one.notes]:
            print(line, file=sys.stderr)
    if any(isinstance(one, HarnessError) for one in found):
        raise typer.Exit(1)


def _show_cell(given: RecipeOptions, cell: str, results: Path, format_: str) -> None:
    """Print what a cell is trained on; what cannot be shown is told on stderr and ends with exit code 1."""
    from harness.api.cell_data import cell_data
    from harness.cli._data import cell_in_lines
    from harness.core.errors import HarnessError
    from harness.record.run import as_json, as_text

    if format_ == "csv":
        raise HarnessError("a cell's data are no table", where="--format", fix="Choose table or json.")
    found = cell_data(given.load(), cell, results)
    if format_ == "json":
        print(as_text(as_json(found)), end="")
    else:
        for line in cell_in_lines(found):
            print(line)
    for missing in found.missing:
        print(missing, file=sys.stderr)
    if found.missing:
        raise typer.Exit(1)


def _named(given: RecipeOptions, columns: list[str]) -> "list[NamedData]":
    """The datasets of a recipe, or a file as one."""
    from harness.core.errors import HarnessError
    from harness.data.settings import DatasetSettings
    from harness.recipe.datasets import NamedData, datasets

    file = given.recipe
    if file.suffix in (".yaml", ".yml"):
        if columns:
            raise HarnessError("a recipe says `columns` itself", where="--columns", fix="Use --set.")
        return datasets(given.load())
    renamed = dict(column.partition("=")[::2] for column in columns)
    if not all(renamed.values()):
        raise HarnessError("expected USUAL=ACTUAL", where="--columns", fix="As in --columns response=reply.")
    return [NamedData(file.name, DatasetSettings(path=file, columns=renamed), False, 0)]


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
