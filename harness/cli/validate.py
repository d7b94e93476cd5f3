"""`harness validate`."""

import sys
import textwrap
from typing import TYPE_CHECKING

import typer

from harness.cli.options import RecipeOptions, grouped

if TYPE_CHECKING:
    from harness.recipe.datasets import NamedData

_WIDTH = 80


@grouped
def validate(given: RecipeOptions) -> None:
    """Check a recipe and its data files, and count its cells; every fault of the recipe is one line with file, line and
    key. Runs nothing.

    Data files are read whole, as a run reads them: how many rows are kept, which columns are used and which are not,
    and the first conversation. One that is not here yet is named and not read.

    Example: harness validate recipes/quickstart.yaml --set train.0.sft.epochs=2
    """
    from harness.data.hub import is_here
    from harness.recipe.datasets import datasets
    from harness.recipe.faults import RecipeError

    try:
        loaded = given.load()
    except RecipeError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    files = datasets(loaded)
    here = [data for data in files if is_here(data.settings)]
    for data in files:
        if data not in here:
            print(f"{data.name}: {data.settings.name} is not here, so it was not read", file=sys.stderr)
    _check(here)
    for sentence in loaded.undrawn:
        print(f"note: {sentence}", file=sys.stderr)
    print(f"{given.recipe}: {loaded.summary}")


def _check(here: "list[NamedData]") -> None:
    """Print what was read of each file; exit where a run would fail on one."""
    from harness.cli._data import looked
    from harness.core.errors import HarnessError
    from harness.data.show import in_lines

    failed = False
    for found in looked(here):
        if isinstance(found, HarnessError):
            print(found, file=sys.stderr)
            failed = True
            continue
        lines = [*in_lines(found.record, found.first), *(f"note: {note}" for note in found.notes)]
        print(found.title)
        for line in lines:
            print(textwrap.fill(line, _WIDTH, initial_indent="  ", subsequent_indent="    "))
    if failed:
        raise typer.Exit(1)
