"""Where the models lie that the cells of runs left, for a recipe that starts from them and for an export."""

from pathlib import Path

from harness.core.errors import HarnessError
from harness.recipe.load import Recipe
from harness.recipe.stored import with_stored_models
from harness.record.folder import PlannedRow, find_run, planned_rows
from harness.store.store import Store


def with_models_of_runs(recipe: Recipe, results: Path) -> Recipe:
    """The recipe with the folders of the models that it names as `artifact:RUN/CELL`, from runs of these results.

    Raises:
        HarnessError: no such run or cell; the model was there before the run, was evicted, or is not made yet.
    """

    def place(run: str, cell: str) -> str:
        folder = find_run(results, run).path
        return f"path:{model_of(row_of(folder, cell), Store(results / 'store'))}"

    return with_stored_models(recipe, place)


def row_of(run: Path, cell: str) -> PlannedRow:
    """A cell of a run's plan."""
    rows = {row.cell: row for row in planned_rows(run)}
    if cell not in rows:
        raise HarnessError(f"the run has no cell '{cell}'", where=str(run), fix=f"It has {', '.join(rows)}.")
    return rows[cell]


def model_of(row: PlannedRow, store: Store) -> Path:
    """The folder of a cell's model."""
    if not row.model:
        raise HarnessError("this model was there before the run: nothing was made", where=row.cell)
    stage, _, part = row.model.partition("/")
    folder = store.path(stage) / part
    if not store.has(stage):
        fix = "Name the results folder that it was made in (--results), or run the recipe again."
        raise HarnessError("its model is not in this store", where=str(store.root), fix=fix)
    if not any(folder.glob("*.safetensors")):
        fix = "Run the recipe again with `keep: all` (its scores are kept)."
        what = "its weights were removed from the store, as the recipe's `keep` says"
        raise HarnessError(what, where=row.cell, fix=fix)
    return folder
