"""Models of finished runs in a recipe: `artifact:RUN/CELL` stands for the folder of the model that the cell left."""

from collections.abc import Callable
from dataclasses import replace

from harness.models.refs import of_run
from harness.recipe.load import Recipe
from harness.recipe.rewriting import Rewriting, texts


def with_stored_models(recipe: Recipe, place: Callable[[str, str], str]) -> Recipe:
    """The recipe with `place(run, cell)`, a reference to a folder, where its cells name a model of a run.

    Its text, which a run keeps, says what the user wrote.
    """
    named = dict.fromkeys(text for cell in recipe.cells for text in texts(cell.settings) if of_run(text))
    if not named:
        return recipe
    put = Rewriting({text: place(*parts) for text in named if (parts := of_run(text))})
    return replace(recipe, cells=[replace(cell, settings=put(cell.settings)) for cell in recipe.cells])
