"""`harness plan`."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import RESULTS, Format, RecipeOptions, Results, grouped

if TYPE_CHECKING:
    from harness.plan.build import Plan
    from harness.plan.timing import Timing
    from harness.stages.api import Stage

_SHOWN = 3
"""Stages of the critical path that are named at each of its ends."""
_LONGEST = 60
"""Characters of a stage's title in it."""


@grouped
def plan(
    given: RecipeOptions,
    results: Results = RESULTS,
    jobs: Annotated[int, typer.Option(min=1, help="Expect the time of a run with so many processes.")] = 1,
    only: Annotated[str, typer.Option(help="Plan only cells whose name matches this glob.")] = "*",
    format_: Format = "table",
) -> None:
    """Show what a run would do: stages (unique, shared, done already), memory, time, GPU-hours, disk, judge calls and
    their price. Runs nothing.

    `usd at most` is what --max-cost must be to be enough for certain. What a judge would cost whose price is not known
    is left empty. Nothing is downloaded but configs of models: what is not here is planned by its name, and said.

    Memory: what each kind of stage takes on a device at most. What does not fit is named with the nearest change that
    does; a run refuses it.

    The expected time: a stage takes the median of the latest 200 finished ones of its kind in this store (of the same
    benchmark, where there are any; with a model at work only of those with equal models, data and settings, on a
    machine like this). Else it takes its operations over the rate of the device, with a range: a GPU's by its data
    sheet, this machine's by `doctor --measure`. What neither tells is counted and not guessed. A run takes as
    long as the longest chain of stages that wait for each other (the critical path), or as all work shared among the
    jobs, whichever is more. Its start is not in it, nor waiting for GPUs and judges.

    Examples:

        harness plan recipes/quickstart.yaml --jobs 2

        harness plan recipes/quickstart.yaml --set seed=1 --only 'teacher=strong*'
    """
    from harness.api.recipes import plan_recipe
    from harness.cli.output import check_format, emit

    check_format(format_)
    forecast = plan_recipe(given.load(), results=results, only=only)
    emit(forecast.stages, format_)
    total = forecast.stages.iloc[-1]
    shared = f"{total['asked']:,} stages asked, {total['unique']:,} unique, {total['done']:,} already done"
    for line in [
        shared,
        *_time(forecast.timing, jobs),
        *forecast.notes,
        *forecast.plan.recipe.undrawn,
        *_missing(forecast.plan, forecast.absent),
    ]:
        print(line, file=sys.stderr)


def _time(expected: "Timing", jobs: int) -> list[str]:
    """The critical path, what a run takes, and what is not known of it; nothing where nothing is to run."""
    from harness.report.numbers import duration

    if not expected.path:
        return []
    chain, least = _chain(expected.path), "at least " if expected.unknown else ""
    lines = [f"critical path: {chain}"]
    if expected.work_seconds or expected.path_seconds:
        lines = [f"critical path, {least}{duration(expected.path_seconds)}: {chain}"]
        seconds, work = duration(expected.seconds(jobs)), duration(expected.work_seconds)
        lines += [f"expected with --jobs {jobs}: {least}{seconds} ({work} of work)"]
    kinds = ", ".join(f"{kind} ({count:,})" for kind, count in expected.unknown.items())
    return [*lines, f"time not known, since no stage of the kind has run here yet: {kinds}"] if kinds else lines


def _chain(path: "Sequence[Stage]") -> str:
    """Titles with the middle left out of a long chain, and the end of a long title."""
    titles = [t if len(t) <= _LONGEST else f"{t[: _LONGEST - 3]}..." for t in (stage.title for stage in path)]
    if len(titles) > 2 * _SHOWN + 1:
        titles[_SHOWN:-_SHOWN] = [f"({len(titles) - 2 * _SHOWN} more)"]
    return " > ".join(titles)


def _missing(plan: "Plan", absent: "Sequence[str]") -> list[str]:
    """What is not here, and what is not known for that."""
    if not absent:
        return []
    from harness.plan.estimate import unknown

    names = dict.fromkeys(e.benchmark for _, e, judged in plan.judged if unknown(judged))
    lines = ["not here, so planned by name and not pinned; what stands on it counts as to run, and a run needs it:"]
    lines += [f"  {name}" for name in absent]
    return [*lines, *(f"{name}: its questions are not here, so its judge calls are not counted" for name in names)]
