"""`harness judge`: what a judge is worth, and people's labels that audit it."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import RESULTS, Format, RecipeOptions, Results, grouped
from harness.core.errors import HarnessError

app = typer.Typer(
    help="What a judge is worth: its agreement with recorded verdicts, and with people.", no_args_is_help=True
)


@dataclass(frozen=True)
class Recorded:
    """Which recorded verdicts, and how many of them."""

    recorded: Annotated[
        Path | None, typer.Option(help="Where answers and verdicts lie; the benchmark's own folder by default.")
    ] = None
    reference: Annotated[
        str | None, typer.Option(help="Whose recorded verdicts; the benchmark's customary judge by default.")
    ] = None
    questions: Annotated[int | None, typer.Option(min=1, help="Only so many questions, evenly over the benchmark.")] = (
        None
    )


ALL = Recorded()


@app.command()
@grouped
def calibrate(
    given: RecipeOptions,
    benchmark: Annotated[
        list[str] | None,
        typer.Option(help="May be given more than once; all of the recipe's by default.", metavar="NAME"),
    ] = None,
    which: Recorded = ALL,
    padding: Annotated[bool, typer.Option(help="Judge padded copies of the answers too, for length bias.")] = True,
    out: Annotated[Path | None, typer.Option(help="A folder for a copy of each record.")] = None,
    results: Results = RESULTS,
    format_: Format = "table",
) -> None:
    """Hold a recipe's judge against recorded verdicts: agreement, biases, failures, cost.

    The record is kept in the store under the judge's digest and shown beside every score from that judge; `harness
    run` again brings it into a report that is there. What the judge was asked once is not asked again.

    Example: harness judge calibrate recipe.yaml --benchmark mt_bench --questions 20
    """
    import pandas as pd

    from harness.api.stored import with_models_of_runs
    from harness.calibration.calibration import records, write
    from harness.calibration.cases import Wanted, cases, stages
    from harness.calibration.side_by_side import measure, rows
    from harness.cli import _progress
    from harness.cli.output import check_format, emit
    from harness.core.machine import visible_gpus
    from harness.core.plugins import plugged
    from harness.plan.build import build
    from harness.run.execute import execute
    from harness.store.store import Store

    check_format(format_)
    loaded, store = given.load(), Store(results / "store")
    wanted = Wanted(tuple(benchmark or ()), which.recorded, which.reference, which.questions, padding)
    with plugged(loaded.plugins):
        held = cases(build(with_models_of_runs(loaded, results)), store, wanted)
        todo = stages(held)
        with _progress.show(sum(not store.has(i) for i in todo)) as listen:
            outcome = execute(todo, store, run="calibrate", jobs=1, gpus=visible_gpus(), listen=listen)
        if outcome.failed:
            raise HarnessError("a judge did not finish", fix="Mend the cause and run again: its verdicts are kept.")
        calibrations = [measure(case, store) for case in held]
    for calibration in calibrations:
        for folder in (records(store), *([out] if out else [])):
            write(folder / f"{calibration.digest}.json", calibration)
    emit(pd.concat([rows(calibration) for calibration in calibrations]), format_)
    for calibration in calibrations:
        state = "calibrated" if calibration.informative else "UNINFORMATIVE"
        print(f"{calibration.judge} on {calibration.benchmark}: {state}. {calibration.note}", file=sys.stderr)
        if (basis := calibration.transferable) and basis.left_out:
            counts = ", ".join(f"{method} {basis.held(method)}" for method in basis.methods)
            print(f"transferred: of {len(basis.left_out)} models left out, intervals held {counts}", file=sys.stderr)
        print(f"record: {records(store) / calibration.digest}.json", file=sys.stderr)


@app.command()
def label(
    run: Annotated[str, typer.Argument(help="A finished run's name or folder.", show_default=False)],
    n: Annotated[int, typer.Option(min=10, help="Questions to draw of each benchmark; the same for all cells.")] = 50,
    benchmark: Annotated[str | None, typer.Option(help="Only this one.", metavar="NAME")] = None,
    out: Annotated[Path, typer.Option(help="The file of labels; one that is there keeps its labels.")] = Path(
        "labels.jsonl"
    ),
    page: Annotated[bool, typer.Option(help="Serve a page to label on, with keys 1 to 9; else only write.")] = True,
    results: Results = RESULTS,
) -> None:
    """Draw answers of a run for people to label, for `judge: {audit: {human: FILE}}`. Stop and go on at any time.

    Example: harness judge label which-teacher --n 50 --out labels.jsonl
    """
    from harness.api.opened import open_run
    from harness.judge.settings import DrawSettings
    from harness.record.labels import draw_labels, read_label_lines, with_values, write_label_lines
    from harness.report.label_page import serve

    known = read_label_lines(out) if out.exists() else []
    lines = with_values(draw_labels(open_run(run, results).folder, benchmark, DrawSettings(n=n)), known)
    write_label_lines(out, lines)
    done = sum(line.value is not None for line in lines)
    print(f"{out}: {len(lines)} answers, {done} labelled", file=sys.stderr)
    print(f"read them with `judge: {{audit: {{human: {out}}}}}` and `harness run` again", file=sys.stderr)
    if page:
        try:
            serve(out, lambda address: print(f"{address} (Ctrl-C ends it)", file=sys.stderr, flush=True))
        except KeyboardInterrupt:
            done = sum(line.value is not None for line in read_label_lines(out))
            print(f"{out}: {done} of {len(lines)} labelled", file=sys.stderr)
