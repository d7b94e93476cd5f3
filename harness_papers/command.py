"""`harness paper`: the papers' tables and figures, a run's numbers beside them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import RESULTS, Format, Results

if TYPE_CHECKING:
    from harness_papers.own import OwnRun

app = typer.Typer(help="The papers' published tables and figures, and a run's numbers beside them.")
Runs = Annotated[
    list[str] | None,
    typer.Option("--run", help="A run's name or folder, to stand beside; may be given more than once.", metavar="RUN"),
]


@app.command("list")
def list_(format_: Format = "table") -> None:
    """List the tables and figures: where each is from, and whether a run can stand beside it.

    Example: harness paper list
    """
    import pandas as pd

    from harness.cli.output import emit
    from harness_papers.catalogue import ITEMS

    rows = [
        {
            "name": item.name,
            "title": item.title,
            "source": item.source,
            "numbers": item.origin,
            "figure": "yes" if item.draw else "no",
            "--run": "yes" if item.own else "no",
        }
        for item in ITEMS.values()
    ]
    emit(pd.DataFrame(rows), format_)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name that `harness paper list` shows.", show_default=False)],
    run: Runs = None,
    results: Results = RESULTS,
    format_: Format = "table",
) -> None:
    """Print one table; its notes on stderr. `csv` and `json` have a row per number, with its origin.

    Example: harness paper show stronger_teachers_table4 --run pocket-teachers
    """
    import pandas as pd

    from harness.cli.output import check_format, emit
    from harness.report.render_table import readable
    from harness_papers.catalogue import find

    check_format(format_)
    item = find(name)
    tables = item.tables([item.of_run(own) for own in _runs(results, run)])
    if format_ == "table":
        for table in tables:
            print(table.title, file=sys.stderr)
            emit(readable(table), format_)
            print("\n".join(table.notes), file=sys.stderr)
    else:
        emit(pd.concat([table.frame() for table in tables], ignore_index=True), format_)


@app.command()
def build(
    names: Annotated[list[str] | None, typer.Argument(help="Tables and figures; all by default.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="reports/papers by default; with --run, `papers` in the first run's folder.")
    ] = None,
    run: Runs = None,
    results: Results = RESULTS,
) -> None:
    """Write tables (Markdown, CSV, LaTeX) and figures, and a page that shows them. Prints the pages' paths.

    Examples:

        harness paper build

        harness paper build stronger_teachers_figure2 --run pocket-teachers
    """
    from harness_papers.build import build as write

    runs = _runs(results, run)
    folder = out or (runs[0].folder / "papers" if runs else Path("reports/papers"))
    built = write(names or [], folder, runs)
    for line in built.left_out:
        print(line, file=sys.stderr)
    print("\n".join(map(str, built.pages)))


def _runs(results: Path, names: list[str] | None) -> "list[OwnRun]":
    from harness.record.folder import find_run
    from harness_papers.own import load_own

    return load_own([find_run(results, name).path for name in names or []])
