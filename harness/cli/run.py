"""`harness run`."""

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import RESULTS, RecipeOptions, Results, grouped
from harness.cli.show import show_run
from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from harness.api.opened import Run
    from harness.api.runs import Ray


@dataclass(frozen=True)
class Place:
    """Where stages run."""

    executor: Annotated[
        str, typer.Option(help="local: this machine. ray: a Ray cluster, whose nodes share the results folder.")
    ] = "local"
    address: Annotated[
        str | None,
        typer.Option(help="Of the Ray cluster (`auto`: the one this machine is in); by default one is started here."),
    ] = None
    cores: Annotated[int, typer.Option(min=1, help="With ray: cores, and so threads, of each session.")] = 1


HERE = Place()


@grouped
def run(
    given: RecipeOptions,
    results: Results = RESULTS,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at the same time; each gets cores / jobs threads.")] = 1,
    only: Annotated[str, typer.Option(help="Run only cells whose name matches this glob.")] = "*",
    rejudge: Annotated[bool, typer.Option(help="Ask the judge again although its verdicts are recorded.")] = False,
    fail_fast: Annotated[
        bool,
        typer.Option(
            "--fail-fast/--keep-going", help="Stop at the first failure, or go on with what does not need it."
        ),
    ] = False,
    place: Place = HERE,
    max_cost: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="USD that all judges of this run together may cost, the verdicts it has already included."
        ),
    ] = None,
) -> None:
    """Run a recipe: train, answer, judge, score, report. What is done already is not done again.

    Where there is news, the run's summary ends it, on stdout (the command `show` prints it again).

    Examples:

        harness run recipes/quickstart.yaml

        harness run recipes/quickstart.yaml --set seed=1 --only 'teacher=a*'

        harness run recipes/smollm2-mtbench.yaml --max-cost 20

        harness run recipes/quickstart.yaml --executor ray --address auto --cores 4
    """
    from harness.api.runs import StagesFailed, run_recipe
    from harness.cli import _progress

    ray = ray_of(place)
    try:
        with _progress.show() as listen:
            finished = run_recipe(
                given.load(),
                results=results,
                jobs=jobs,
                only=only,
                rejudge=rejudge,
                fail_fast=fail_fast,
                max_cost_usd=max_cost,
                ray=ray,
                listen=listen,
            )
    except KeyboardInterrupt:
        _say("\ninterrupted. What is finished is kept; run again to go on.")
        os._exit(130)  # threads that wait for a judge do not hold us up: what they recorded is on disk
    except StagesFailed as error:
        _tell(error.run)
        raise
    _tell(finished)


def ray_of(place: Place) -> "Ray | None":
    """The Ray cluster to run on; None for this machine.

    Raises:
        HarnessError: no such executor, or an address without a cluster.
    """
    from harness.api.runs import Ray

    if place.executor not in ("local", "ray"):
        raise HarnessError(f"no such executor: {place.executor}", where="--executor", fix="Choose from local, ray.")
    if place.address is not None and place.executor != "ray":
        raise HarnessError("an address is of a Ray cluster", where="--address", fix="Add --executor ray.")
    return Ray(place.address, place.cores) if place.executor == "ray" else None


def _tell(run: "Run") -> None:
    """Say what was done, and the run's summary where there is news in it."""
    assert run.plan is not None
    assert run.outcome is not None
    _say(f"executed {len(run.outcome.built)} of {len(run.plan.stages)} stages in {run.outcome.seconds:.1f} s")
    for line in run.notes:
        _say(line)
    if run.outcome.built or run.outcome.failed:
        show_run(run)
        return
    for line in run.warnings:
        if line not in run.plan.left_out:  # said before it began
            _say(f"warning: {line}")
    for page in run.pages:
        _say(f"report: {page}")
    _say(f"its scores: harness show {run.folder.name}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
