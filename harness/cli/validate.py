"""`harness validate`."""

import sys

import typer

from harness.cli._options import RecipeFile, Sets


def validate(recipe: RecipeFile, set_: Sets = None) -> None:
    """Check a recipe and count its cells; every fault is one line with file, line and key. Runs nothing.

    Example: harness validate recipes/quickstart.yaml --set train.0.sft.epochs=2
    """
    from harness.recipe.faults import RecipeError
    from harness.recipe.load import load

    try:
        loaded = load(recipe, set_ or [])
    except RecipeError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    print(f"{recipe}: {loaded.summary}")
