"""Runs: what a recipe asks for is done, and what it left is opened."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from harness.api.opened import Run
from harness.api.recipes import notes, results_folder
from harness.api.stored import with_models_of_runs
from harness.core.absent import absent_allowed
from harness.core.errors import HarnessError
from harness.core.machine import visible_gpus
from harness.core.plugins import plugged
from harness.judge.budget import Budgets
from harness.plan.build import Plan, build
from harness.plan.estimate import budgets, estimate
from harness.plan.generation import check
from harness.plan.judges import looks
from harness.plan.needs import graph, to_build
from harness.plan.prospect import check_fits
from harness.recipe.load import Recipe
from harness.record.collect import collect
from harness.record.folder import RunFolder, judge_epoch, run_folder, write_plan
from harness.record.judges import judges as known_judges
from harness.record.run import write_run
from harness.record.summary import says_of_judges
from harness.record.teachers import write_teachers
from harness.run.cluster import Cluster, connected
from harness.run.events import Began, Event
from harness.run.execute import Outcome, execute
from harness.run.keeping import Keeper
from harness.run.progress import Recorder
from harness.store.store import Store

Listener = Callable[[Began | Event], None]
"""Hears what happens, in order: `Began` first, then `Started`, `Advanced` and `Ended` of stages (`run.events`)."""


class StagesFailed(HarnessError):
    """Some stages of a run failed; what does not stand on them was done, and `run` is the run as far as it is."""

    def __init__(self, run: Run) -> None:
        outcome = run.outcome
        assert outcome is not None, "it was run just now"
        blocked = f", {len(outcome.blocked)} did not run for it" if outcome.blocked else ""
        super().__init__(f"{len(outcome.failed)} stage(s) failed{blocked}", fix="Mend the cause and run again.")
        self.run = run

    def __reduce__(self) -> tuple[object, ...]:
        """The run survives the trip between processes."""
        return type(self), (self.run,)


@dataclass(frozen=True)
class Ray:
    """A Ray cluster to run on; its nodes share the results folder."""

    address: str | None = None
    """`auto`: the one this machine is in; by default one is started here."""
    cores: int = 1
    """Of each session, and so its threads."""


def run_recipe(
    recipe: Recipe,
    *,
    results: str | Path | None = None,
    jobs: int = 1,
    only: str = "*",
    rejudge: bool = False,
    fail_fast: bool = False,
    max_cost_usd: float | None = None,
    ray: Ray | None = None,
    listen: Listener | None = None,
) -> Run:
    """Run a recipe's cells whose name matches the glob `only`: train, answer, judge, score, report.

    What is done already is not done again. `jobs` processes run at the same time; `rejudge` asks judges again although
    their verdicts are recorded; `fail_fast` stops at the first failure; `max_cost_usd` is what all judges of the run
    together may cost, the verdicts it has already included. `listen` is called with every event.

    >>> from harness import load_recipe
    >>> recipe = load_recipe({
    ...     "name": "untrained",
    ...     "student": "pocket:llama?layers=1&width=16&heads=2",
    ...     "evaluate": [{"pocket": {"questions": 8}}],
    ... })
    >>> run = run_recipe(recipe)
    >>> len(run.outcome.failed), len(run.samples)
    (0, 16)
    >>> run.scores.query("category == 'overall'")[["metric", "n", "total"]].values.tolist()
    [['general_score', 10, 10], ['domain_score', 6, 6]]

    Raises:
        StagesFailed: some stages failed.
        HarnessError: something that the recipe needs is not there, a judge cannot be asked (shut down, not listed, its
            key refused), or `max_cost_usd` with a judge of unknown price.
    """
    place = results_folder(results)
    folder, store, tell = run_folder(place, recipe.name), Store(place / "store"), listen or _ignore
    with plugged(recipe.plugins):
        epoch = judge_epoch(folder, again=rejudge)
        plan = _pinned(with_models_of_runs(recipe, place), only, epoch)
        judges = estimate(plan, store)
        limits = budgets(judges, max_cost_usd)
        check(plan, store)
        todo = to_build(graph(plan.stages), store)
        check_fits(plan, {i: stage for i, stage in plan.stages.items() if i in todo}, store, place)
        said = looks((stage for i, stage in plan.stages.items() if i in todo), judges)
        write_plan(folder, plan, epoch)
        tell(Began(recipe.name, len(plan.cells), len(plan.stages), len(todo), (*notes(plan, judges), *said)))
        names = {row.asked.digest: row.asked.settings.model for row in judges}
        work = Work(plan, place, names, jobs, fail_fast, limits, ray)
        return perform(work, tell)


@dataclass(frozen=True)
class Work:
    """A plan that is about to run, once all that could stop it was looked at."""

    plan: Plan
    place: Path
    """The folder of store and runs."""
    judges: Mapping[str, str]
    """Names of the judges by digest, for `status`."""
    jobs: int = 1
    fail_fast: bool = False
    limits: Budgets | None = None
    ray: Ray | None = None


def perform(work: Work, tell: Listener) -> Run:
    """Run the stages of a plan, collect what they left and render the report.

    Raises:
        StagesFailed: some stages failed.
    """
    plan, store, folder = work.plan, Store(work.place / "store"), run_folder(work.place, work.plan.recipe.name)
    todo = to_build(graph(plan.stages), store)
    with _cluster(work.ray, store, len(todo)) as cluster, Recorder(folder, store, work.judges, tell) as recorder:
        keeper = Keeper(folder, store, recorder)
        keeper.sweep()
        outcome = execute(
            plan.stages,
            store,
            run=plan.recipe.name,
            jobs=work.jobs,
            gpus=visible_gpus(),
            listen=keeper,
            budgets=work.limits,
            fail_fast=work.fail_fast,
            cluster=cluster,
        )
    return _opened(Run(folder.path, plan, outcome, keeper.says(), _write(folder, plan, store, outcome)))


def rank_teachers(
    recipe: Recipe, *, results: str | Path | None = None, jobs: int = 1, listen: Listener | None = None
) -> Run:
    """Score a recipe's teachers for each student base; nothing is trained on their responses.

    The leaderboard is `teachers.board` of the run.

    Raises:
        StagesFailed: some stages failed.
        HarnessError: the recipe has no `teachers` section, something that it needs is not there, or a judge cannot be
            asked.
    """
    place = results_folder(results)
    folder, store, tell = run_folder(place, recipe.name), Store(place / "store"), listen or _ignore
    epoch = judge_epoch(folder, again=False)
    with plugged(recipe.plugins):
        plan = _pinned(with_models_of_runs(recipe, place), "*", epoch)
        stages = plan.teacher_stages
        if not stages:
            fix = "See recipes/zoo-car.yaml."
            raise HarnessError("the recipe has no `teachers` section", where=str(recipe.path), fix=fix)
        todo = [stage for i, stage in stages.items() if not store.has(i)]
        check_fits(plan, {stage.id: stage for stage in todo}, store, place)
        said = looks(todo, [])
        write_plan(folder, plan, epoch)
        tell(Began(recipe.name, len(plan.cells), len(stages), len(todo), (*plan.left_out, *said)))
        outcome = execute(stages, store, run=recipe.name, jobs=jobs, gpus=visible_gpus(), listen=tell)
        write_teachers(folder, plan, store)
    return _opened(Run(folder.path, plan, outcome))


def _pinned(recipe: Recipe, only: str, epoch: int) -> Plan:
    """The plan; where several things that it names are not here, all of them are told at once."""
    try:
        return build(recipe, only=only, judge_epoch=epoch)
    except HarnessError:
        with absent_allowed() as absent:
            build(recipe, only=only, judge_epoch=epoch)
        missing = [name for name in absent if not name.startswith("hf:")]  # those of the hub are fetched
        if len(missing) < 2:
            raise
        raise HarnessError(
            "\n    ".join([f"{len(missing)} files or folders are not here:", *missing]),
            where=str(recipe.path),
            fix="Check the paths in the recipe.",
        ) from None


def _ignore(event: Began | Event) -> None:
    pass


def _opened(run: Run) -> Run:
    if run.outcome is not None and run.outcome.failed:
        raise StagesFailed(run)
    return run


def _cluster(ray: Ray | None, store: Store, todo: int) -> "AbstractContextManager[Cluster | None]":
    return connected(ray.address, store.root, ray.cores) if ray is not None and todo else nullcontext()


def _write(folder: RunFolder, plan: Plan, store: Store, outcome: Outcome) -> list[Path]:
    """Write the run's tables and pages, where there is news; returns the pages."""
    pages = _pages(folder, plan)
    news = not says_of_judges(folder, known_judges(plan, store))
    if outcome.built or outcome.failed or news or not all(page.exists() for page in pages):
        for page in pages:
            page.unlink(missing_ok=True)
        write_run(folder.record, collect(folder, plan, store, len(outcome.built), outcome.failed))
        write_teachers(folder, plan, store)
        _render(folder, pages)
    return pages


def _pages(folder: RunFolder, plan: Plan) -> list[Path]:
    """What a reader opens; written last, so that their presence says that the rest is there."""
    pages = [folder.report] if any(cell.evaluated for cell in plan.cells) else []
    return pages + ([folder.teachers] if plan.teacher_stages else [])


def _render(folder: RunFolder, pages: list[Path]) -> None:
    from harness.report.pages import render

    try:
        render(folder.path, folder.path)
    except BaseException:
        for page in pages:
            page.unlink(missing_ok=True)  # torn, it would say that the rest is there
        raise
