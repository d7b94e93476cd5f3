"""A finished run's recipe in a new draw, and both beside each other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api.opened import Run, open_run
from harness.api.recipes import load_recipe
from harness.api.runs import Listener, run_recipe
from harness.core.errors import HarnessError
from harness.recipe.draws import DRAW
from harness.recipe.load import Recipe

if TYPE_CHECKING:
    from harness.report.tables import Table


@dataclass(frozen=True)
class Replication:
    """A run, the same in a new draw, and what held."""

    before: Run
    anew: Run
    table: "Table"
    """A row for each comparison that both have (see `report.replicated`)."""


def replicate(
    name: str | Path,
    *,
    results: str | Path | None = None,
    draw: int | None = None,
    jobs: int = 1,
    plugins: Sequence[str | Path] = (),
    listen: Listener | None = None,
) -> Replication:
    """Run a finished run's recipe in a draw that it has not seen, by default the first such, as the run NAME-draw-D.

    Raises:
        HarnessError: there is no such run, or its recipe cannot be run (as `run_recipe`).
        StagesFailed: some stages failed.
    """
    from harness.report.replicated import replication_table

    before = open_run(name, results)
    recipe = in_draw(before.folder / "recipe.yaml", before.folder.name, draw, plugins)
    anew = run_recipe(recipe, results=results, jobs=jobs, listen=listen)
    both = [run.compare().rows for run in (before, anew)]
    return Replication(before, anew, replication_table(before.data, *both))


def in_draw(path: Path, name: str, draw: int | None, plugins: Sequence[str | Path]) -> Recipe:
    """A recipe in a single draw, by default the first after its own; HarnessError for one of its own."""
    written = load_recipe(path, plugins=plugins)
    draws = written.cells[0].settings.draws
    seen = draws.n if draws is not None else 1
    chosen = seen if draw is None else draw
    if chosen < seen:
        raise HarnessError(f"the run has draw {chosen} already", where=name, fix=f"Ask for draw {seen} or a later one.")
    of = f", of: [{', '.join(draws.of)}]" if draws is not None else ""
    sets = [f"draws={{n: {chosen + 1}{of}}}", f"name={name}-draw-{chosen}"]
    recipe = load_recipe(path, sets, plugins=plugins)
    cells = [cell for cell in recipe.cells if cell.labels.get(DRAW, str(chosen)) == str(chosen)]
    return replace(recipe, cells=cells, axes=recipe.axes | {DRAW: [str(chosen)]})
