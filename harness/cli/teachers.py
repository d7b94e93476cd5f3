"""`harness teachers`: score teachers, rank them, and see whether the scores told the truth."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import RESULTS, Format, RecipeOptions, Results, grouped

if TYPE_CHECKING:
    from harness.api.opened import Run

app = typer.Typer(help="Which teacher is best for a student: scores, ranks, and how well they predict.")
Out = Annotated[Path | None, typer.Option(help="Where to write page and tables; the run's own folder by default.")]
Jobs = Annotated[int, typer.Option(min=1, help="Processes at the same time; each gets cores / jobs threads.")]


@app.command()
@grouped
def rank(
    given: RecipeOptions,
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
    from harness.api.runs import StagesFailed, rank_teachers
    from harness.cli import _progress

    try:
        with _progress.show() as listen:
            ranked = rank_teachers(given.load(), results=results, jobs=jobs, listen=listen)
    except StagesFailed as error:
        _show(error.run, score, out, format_)
        raise
    _show(ranked, score, out, format_)


def _show(run: "Run", score: str | None, out: Path | None, format_: str) -> None:
    """Write the teachers' page and print the leaderboard."""
    from harness.cli.output import emit
    from harness.report import teachers as pages

    print(f"page: {run.write_teachers_page(out)}", file=sys.stderr)
    emit(pages.shown(run.teachers, score) if format_ == "table" else pages.rows(run.teachers, score), format_)


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
    from harness.api.opened import open_run
    from harness.cli.output import emit

    opened = open_run(run, results)
    table = opened.validate_teachers()
    print(f"page: {opened.write_teachers_page(out)}", file=sys.stderr)
    emit(table, format_)
