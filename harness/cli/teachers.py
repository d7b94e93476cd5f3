"""`harness teachers`: score teachers, rank them, and see whether the scores told the truth."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli._options import RESULTS, Format, RecipeFile, Results, Sets
from harness.core.errors import HarnessError

app = typer.Typer(help="Which teacher is best for a student: scores, ranks, and how well they predict.")
Out = Annotated[Path | None, typer.Option(help="Where to write page and tables; the run's own folder by default.")]
Jobs = Annotated[int, typer.Option(min=1, help="Processes at the same time; each gets cores / jobs threads.")]


@app.command()
def rank(
    recipe: RecipeFile,
    set_: Sets = None,
    results: Results = RESULTS,
    jobs: Jobs = 1,
    score: Annotated[str | None, typer.Option(help="Show one score's rows in full, e.g. car.")] = None,
    out: Out = None,
    format_: Format = "table",
) -> None:
    """Score a recipe's teachers for each student base and rank them; nothing is trained on their responses.

    Writes teachers.html (sortable, with the CAR scatter) and tables. `csv` and `json` hold every row, with intervals.

    Examples:

        harness teachers rank recipes/zoo-car.yaml --set vars.data=data

        harness teachers rank recipes/zoo-car.yaml --score car --format csv
    """
    from harness.cli import _progress
    from harness.cli._output import emit
    from harness.core.machine import visible_gpus
    from harness.plan.build import build
    from harness.recipe.load import load
    from harness.record.folder import judge_epoch, run_folder, write_plan
    from harness.record.teachers import write_teachers
    from harness.report import teachers as pages
    from harness.report.teacher_page import render
    from harness.run.execute import execute
    from harness.store.store import Store

    loaded = load(recipe, set_ or [])
    folder, store = run_folder(results, loaded.name), Store(results / "store")
    epoch = judge_epoch(folder, again=False)
    plan = build(loaded, judge_epoch=epoch)
    if not plan.teacher_stages:
        raise HarnessError("the recipe has no `teachers` section", where=str(recipe), fix="See recipes/zoo-car.yaml.")
    write_plan(folder, plan, epoch)
    todo = sum(not store.has(i) for i in plan.teacher_stages)
    print(f"{loaded.name}: {len(plan.teacher_stages)} stages, {todo} to run", file=sys.stderr)
    for line in plan.left_out:
        print(line, file=sys.stderr)
    with _progress.show(todo) as listen:
        outcome = execute(plan.teacher_stages, store, run=loaded.name, jobs=jobs, gpus=visible_gpus(), listen=listen)
    write_teachers(folder, plan, store)
    found = pages.load_teachers(folder.path)
    print(f"page: {render(found, out or folder.path)}", file=sys.stderr)
    emit(pages.shown(found, score) if format_ == "table" else pages.rows(found, score), format_)
    if outcome.failed:
        raise HarnessError(f"{len(outcome.failed)} stage(s) failed", fix="Mend the cause and run again.")


@app.command()
def validate(
    run: Annotated[str, typer.Argument(help="A run's name or folder.", show_default=False)],
    results: Results = RESULTS,
    out: Out = None,
    format_: Format = "table",
) -> None:
    """Hold teacher scores against what the students trained on each teacher really achieved.

    Beside the scores stand what one would otherwise go by: chance, size, length, the teacher's own strength, the reward
    alone, and how the teacher did for the other students.

    Example: harness teachers validate pocket-teachers
    """
    from harness.cli._output import emit
    from harness.record.folder import find_run
    from harness.report import teachers as pages
    from harness.report.teacher_page import render

    folder = find_run(results, run).path
    found = pages.load_teachers(folder)
    table = pages.validation(found)
    print(f"page: {render(found, out or folder)}", file=sys.stderr)
    emit(table, format_)
