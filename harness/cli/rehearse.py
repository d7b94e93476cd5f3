"""`harness rehearse`."""

import sys
import textwrap
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import RESULTS, RecipeOptions, Results, grouped
from harness.cli.run import HERE, Place, ray_of

if TYPE_CHECKING:
    from harness.api.rehearsal import Rehearsal

_WIDTH = 80
_LABELS = 2
"""Labels of an axis that are named; of more, their number is."""


@grouped
def rehearse(
    given: RecipeOptions,
    judges: Annotated[bool, typer.Option(help="Ask each judge one question; or none, a stand-in answers.")] = True,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at the same time; each gets cores / jobs threads.")] = 1,
    only: Annotated[str, typer.Option(help="Rehearse only cells whose name matches this glob.")] = "*",
    place: Place = HERE,
    results: Results = RESULTS,
) -> None:
    """Run every stage of a recipe in miniature, in minutes, before the recipe costs anything: all faults at once.

    Models have two layers and random weights, but their own class, config, tokenizer and chat template; of the hub only
    these files are fetched, no weights. Datasets have 32 rows, benchmarks 4 questions, trainings 3 steps, the first of
    each kind stopped and taken up again. Cells that differ in seeds alone are rehearsed once; benchmarks score the
    first cell of each student. What a miniature would hide (lengths, batches, shapes) is checked at real size. Nothing
    stays: it happens in a temporary folder.

    The exit code is 1 where there are faults.

    Examples:

        harness rehearse recipes/quickstart.yaml --jobs 2

        harness rehearse recipes/papers/teacher-million.yaml --set vars.data=DIR --no-judges
    """
    from harness.api.rehearsal import rehearse_recipe
    from harness.cli import _progress

    with _progress.show() as listen:
        recipe, ray = given.load(), ray_of(place)
        done = rehearse_recipe(recipe, judges=judges, jobs=jobs, only=only, ray=ray, results=results, listen=listen)
    print("\n".join(lines(done)))
    if done.faults:
        sys.exit(1)


def lines(done: "Rehearsal") -> list[str]:
    """The table, the faults and what was not rehearsed, in lines of at most 80 characters."""
    rows = [("stage", "number", "cells", "outcome")]
    for row in done.rows:
        outcome = f"fault {row.fault}" if row.fault else "ok" if row.reached else "not reached"
        rows.append((row.kind, str(row.stages), group(done, row.cells), outcome))
    shown = {row.fault for row in done.rows}
    for number, fault in enumerate(done.faults, 1):
        if number not in shown:
            rows.append((fault.kind, "-", group(done, fault.cells), f"fault {number}"))
    out = table(rows)
    for number, fault in enumerate(done.faults, 1):
        what, *fix = fault.text.splitlines()
        out += ["", *_wrapped(f"fault {number}, {fault.kind}, {group(done, fault.cells)}: {what}", "")]
        out += [line for one in fix for line in _wrapped(one.strip(), "  ")]
    if done.not_rehearsed:
        out += ["", "not rehearsed:", *(line for one in done.not_rehearsed for line in _wrapped(one, "  "))]
    count = len(done.faults)
    verdict = f"{count} fault{'s' if count > 1 else ''}" if count else "no fault"
    stages, cells = sum(row.stages for row in done.rows), len(done.cells)
    return [*out, "", f"{verdict}: {stages} stages of {cells} cells rehearsed in {done.seconds:.0f} s"]


def group(done: "Rehearsal", names: Collection[str]) -> str:
    """Cells as the labels that they have in common: `teacher=a,b (4 of 12)`; `all` for all."""
    chosen = [cell for cell in done.cells if cell.name in names]
    if len(chosen) == len(done.cells):
        return "all"
    if {cell.name for cell in chosen} == {cell.name for cell in done.cells if not cell.baseline}:
        return f"the sweep ({len(chosen)} of {len(done.cells)})"
    if all(cell.baseline for cell in chosen):
        return f"baselines: {', '.join(cell.name for cell in chosen)}"
    parts = []
    for axis in done.recipe.axes:
        every, some = (
            dict.fromkeys(c.labels[axis] for c in cells if axis in c.labels) for cells in (done.cells, chosen)
        )
        if len(some) < len(every):
            parts.append(f"{axis}={','.join(some)}" if len(some) <= _LABELS else f"{len(some)} of {axis}")
    count = f"{len(chosen)} of {len(done.cells)}"
    return f"{' '.join(parts)} ({count})" if parts else count


def table(rows: list[tuple[str, str, str, str]]) -> list[str]:
    """Columns beside each other; of cells that are too long the end is left out."""
    first, second, last = (max(len(row[k]) for row in rows) for k in (0, 1, 3))
    room = _WIDTH - first - second - last - 6
    width = min(room, max(len(row[2]) for row in rows))
    cut = [(a, b, c if len(c) <= width else f"{c[: width - 3]}...", d) for a, b, c, d in rows]
    return [f"{a:<{first}}  {b:>{second}}  {c:<{width}}  {d}".rstrip() for a, b, c, d in cut]


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent or "  ", break_on_hyphens=False)
