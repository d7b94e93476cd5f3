"""`harness run`."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli._options import RESULTS, RecipeFile, Results, Sets, grouped
from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from harness.plan.build import Plan
    from harness.record.folder import RunFolder
    from harness.run.cluster import Cluster
    from harness.store.store import Store


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
    recipe: RecipeFile,
    set_: Sets = None,
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

    Examples:

        harness run recipes/quickstart.yaml

        harness run recipes/quickstart.yaml --set seed=1 --only 'teacher=a*'

        harness run recipes/smollm2-mtbench.yaml --max-cost 20

        harness run recipes/quickstart.yaml --executor ray --address auto --cores 4
    """
    from harness.cli import _progress
    from harness.core.machine import visible_gpus
    from harness.plan.build import build
    from harness.plan.estimate import budgets, estimate, in_words
    from harness.plan.generation import check, engines
    from harness.plan.generation import in_words as engines_in_words
    from harness.plan.needs import graph, to_build
    from harness.recipe.load import load
    from harness.record.collect import collect
    from harness.record.folder import judge_epoch, run_folder, write_plan
    from harness.record.judges import judges as known_judges
    from harness.record.run import write_run
    from harness.record.summary import says_of_judges, warnings
    from harness.record.teachers import write_teachers
    from harness.run.execute import execute
    from harness.run.keeping import Keeper
    from harness.run.progress import Recorder
    from harness.store.store import Store

    _check_executor(place.executor, place.address)
    loaded = load(recipe, set_ or [])
    folder = run_folder(results, loaded.name)
    epoch = judge_epoch(folder, again=rejudge)
    plan = build(loaded, only=only, judge_epoch=epoch)
    store = Store(results / "store")
    judges = estimate(plan, store)
    limits = budgets(judges, max_cost)
    check(plan, store)
    write_plan(folder, plan, epoch)
    todo = len(to_build(graph(plan.stages), store))
    _say(f"{plan.recipe.name}: {len(plan.cells)} cells, {len(plan.stages)} stages, {todo} to run")
    for line in [*plan.left_out, *engines_in_words(engines(plan)), *in_words(judges)]:
        _say(line)
    try:
        with (
            _cluster(place, store, todo) as cluster,
            _progress.show(todo) as shown,
            Recorder(folder, store, {row.asked.digest: row.asked.settings.model for row in judges}, shown) as listen,
        ):
            keeper = Keeper(folder, store, listen)
            keeper.sweep()
            outcome = execute(
                plan.stages,
                store,
                run=plan.recipe.name,
                jobs=jobs,
                gpus=visible_gpus(),
                listen=keeper,
                budgets=limits,
                fail_fast=fail_fast,
                cluster=cluster,
            )
    except KeyboardInterrupt:
        _say("\ninterrupted. What is finished is kept; run again to go on.")
        os._exit(130)  # threads that wait for a judge do not hold us up: what they recorded is on disk
    news = not says_of_judges(folder, known_judges(plan, store))
    pages = _pages(folder, plan)
    if outcome.built or outcome.failed or news or not all(page.exists() for page in pages):
        for page in pages:
            page.unlink(missing_ok=True)
        write_run(folder.record, collect(folder, plan, store, len(outcome.built), outcome.failed))
        write_teachers(folder, plan, store)
        _render(folder, pages)
    _say(f"executed {len(outcome.built)} of {len(plan.stages)} stages in {outcome.seconds:.1f} s")
    for line in keeper.says():
        _say(line)
    for line in warnings(folder):
        if line not in plan.left_out:  # said above
            _say(f"warning: {line}")
    for page in pages:
        _say(f"report: {page}")
    if outcome.failed:
        blocked = f", {len(outcome.blocked)} did not run for it" if outcome.blocked else ""
        raise HarnessError(f"{len(outcome.failed)} stage(s) failed{blocked}", fix="Mend the cause and run again.")


def _check_executor(executor: str, address: str | None) -> None:
    if executor not in ("local", "ray"):
        raise HarnessError(f"no such executor: {executor}", where="--executor", fix="Choose from local, ray.")
    if address is not None and executor != "ray":
        raise HarnessError("an address is of a Ray cluster", where="--address", fix="Add --executor ray.")


def _cluster(place: Place, store: "Store", todo: int) -> "AbstractContextManager[Cluster | None]":
    from harness.run.cluster import connected

    return connected(place.address, store.root, place.cores) if place.executor == "ray" and todo else nullcontext()


def _pages(folder: "RunFolder", plan: "Plan") -> list[Path]:
    """What a reader opens; written last, so that their presence says that the rest is there."""
    pages = [folder.report] if any(cell.evaluated for cell in plan.cells) else []
    return pages + ([folder.teachers] if plan.teacher_stages else [])


def _render(folder: "RunFolder", pages: list[Path]) -> None:
    from harness.report.pages import render

    try:
        render(folder.path, folder.path)
    except BaseException:
        for page in pages:
            page.unlink(missing_ok=True)  # torn, it would say that the rest is there
        raise


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
