"""From cells to stages. Cells that need the same stage share it, so that a setting reruns only what it changes."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property

from harness.core.errors import HarnessError
from harness.judge.settings import AuditSettings, JudgeSettings
from harness.models.settings import ModelSettings
from harness.plan import experts, sources, teachers, training
from harness.plan.context import CellContext, Graph
from harness.plan.teachers import ScoredTeacher
from harness.plan.training import Pipeline
from harness.recipe.load import Cell, Recipe
from harness.recipe.schema import Keep
from harness.stages import answer, average, benchmarks, contamination, judge, measure, score
from harness.stages.api import Stage
from harness.stages.model import PlannedModel, unavailable
from harness.stages.pinned import pinned_file
from harness.train.settings import checkpoint_part


@dataclass(frozen=True)
class JudgedStages:
    """The stages of a benchmark that a model answers and a judge scores."""

    answers: Stage
    verdicts: Stage
    audit: Stage | None = None
    """The verdicts of the reference judge that audits them."""


@dataclass(frozen=True)
class Evaluated:
    """The stages of a benchmark of a cell."""

    benchmark: str
    score: Stage
    judged: tuple[JudgedStages, ...] = ()
    """Of each judge, several for a panel; none for a benchmark that is measured on the model itself, whose stage is the
    input `measured` of `score`."""
    routing: Stage | None = None
    """Reads which experts the questions are routed to, for a model that is known to have routers."""


@dataclass(frozen=True)
class PlannedCell:
    """A cell and the stages of its row."""

    cell: Cell
    model: PlannedModel
    trained: tuple[PlannedModel, ...]
    evaluated: tuple[Evaluated, ...]
    teacher: ScoredTeacher | None = None
    """Its teacher's scores for its student base, if the recipe asks for them."""
    checks: tuple[Stage, ...] = ()
    """Searches for its benchmarks' prompts in its training data; they come first, so that they run before training."""

    @property
    def name(self) -> str:
        """The cell's name."""
        return self.cell.name

    @property
    def ends(self) -> list[Stage]:
        """The stages on which no other stage of the cell depends."""
        routing = (e.routing for e in self.evaluated if e.routing is not None)
        scores = (e.score for e in self.evaluated)
        return [*self.checks, *scores, *routing, *([self.teacher.stage] if self.teacher else [])]


@dataclass(frozen=True)
class Plan:
    """A recipe's cells with their stages."""

    recipe: Recipe
    cells: tuple[PlannedCell, ...]
    left_out: tuple[str, ...] = ()
    """A sentence for each optional student that cannot be loaded."""

    @property
    def judged(self) -> Iterator[tuple[PlannedCell, Evaluated, JudgedStages]]:
        """Every (cell, benchmark, judge) that has answers and verdicts."""
        return ((c, e, judged) for c in self.cells for e in c.evaluated for judged in e.judged)

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """Every stage but leaves, by id, each after its inputs."""
        return _walk(end for cell in self.cells for end in cell.ends)

    @property
    def keep(self) -> Keep:
        """Which weights stay on disk."""
        return self.cells[0].cell.settings.keep

    @property
    def finals(self) -> dict[str, list[str]]:
        """The cells' final models, as stage -> parts of its output; of several checkpoints the last."""
        models: dict[str, dict[str, None]] = {}
        for planned in self.cells:
            model, cell = planned.model, planned.cell
            at_the_end = not planned.trained or cell.checkpoint == cell.settings.checkpoints[-1]
            if at_the_end and not model.stage.is_leaf:
                models.setdefault(model.stage.id, {})[model.part] = None
        return {stage: list(parts) for stage, parts in models.items()}

    @cached_property
    def teacher_stages(self) -> dict[str, Stage]:
        """The stages that teacher scores need."""
        return _walk(cell.teacher.stage for cell in self.cells if cell.teacher is not None)

    @cached_property
    def asked(self) -> Counter[str]:
        """How many stages of each kind the cells need, a shared stage counted for each of them."""
        return Counter(s.kind for cell in self.cells for s in _walk(cell.ends).values())


def _walk(ends: Iterable[Stage]) -> dict[str, Stage]:
    seen: set[str] = set()
    return {s.id: s for end in ends for s in end.walk(seen) if not s.is_leaf}


def build(recipe: Recipe, *, only: str = "*", judge_epoch: int = 0) -> Plan:
    """The plan of a recipe's cells whose name matches the glob `only`. Every leaf is pinned here, once.

    Raises:
        HarnessError: a model or file that the recipe names does not exist; no cell matches.
    """
    cells = [cell for cell in recipe.cells if fnmatch(cell.name, only)]
    if not cells:
        raise HarnessError("no cell has a name like this", where=only, fix=f"The first is: {recipe.cells[0].name}")
    optional = {s.model: s for s in (cell.settings.student for cell in cells) if s.optional}
    reasons = {model: unavailable(settings) for model, settings in optional.items()}
    absent = Counter(reason for cell in cells if (reason := _absent(cell, reasons)))
    available = [cell for cell in cells if not _absent(cell, reasons)]
    if not available:
        raise HarnessError(f"no student is there: {next(iter(absent))}", where=str(recipe.path))
    graph = Graph()
    planned = tuple(_planned(cell, graph, judge_epoch) for cell in available)
    sentences = (f"{count} cells of an optional student are left out: {reason}" for reason, count in absent.items())
    return Plan(recipe, planned, tuple(sentences))


def _absent(cell: Cell, reasons: Mapping[str, str]) -> str:
    return reasons[cell.settings.student.model] if cell.settings.student.optional else ""


def _planned(cell: Cell, graph: Graph, judge_epoch: int) -> PlannedCell:
    """The stages of a cell: its model (trained unless it is a baseline), its benchmarks, its teacher's scores."""
    settings = cell.settings
    ctx = CellContext(settings, cell.labels, graph)
    for name, recipe in settings.models.items():
        base = sources.model(ctx, ModelSettings(model=recipe.base))
        experts.check_router_loss(name, recipe.train, base)
        here = ctx if recipe.data_seed is None else ctx.with_data_seed(recipe.data_seed)
        pipeline = Pipeline(name, recipe.train, recipe.data, recipe.seed)
        ctx.trained[name] = training.trained(here, pipeline, base).model
    trained: list[PlannedModel] = []
    teacher = sources.teacher_model(ctx) if cell.baseline == "teacher" else None
    model = teacher or sources.model(ctx, settings.student)
    if cell.baseline is None and settings.train:
        experts.check_router_loss(cell.name, settings.train, model)
        fractions = [kept for kept in settings.checkpoints if kept != "mean"]
        pipeline = Pipeline(cell.trained_as, settings.train, settings.data, settings.seed, fractions)
        made = training.trained(ctx, pipeline, model)
        trained = made.steps
        if cell.checkpoint == "mean":
            model = graph.share_model(average.stage(trained[-1], fractions))
        elif len(fractions) > 1:
            model = PlannedModel(trained[-1].stage, cell.name, checkpoint_part(cell.checkpoint))
        else:
            model = made.model
    model = PlannedModel(model.stage, cell.name, model.part)
    benches = [graph.once(benchmarks.pin, chosen.name, chosen.settings) for chosen in settings.evaluate]
    evaluated = tuple(_evaluated(ctx, bench, model, judge_epoch) for bench in benches)
    scored = None
    if cell.baseline is None and settings.teachers is not None:
        scored = teachers.scored(ctx, training.teacher_data(ctx, settings.data))
    return PlannedCell(cell, model, tuple(trained), evaluated, scored, _searches(graph, model, benches))


def _searches(graph: Graph, model: PlannedModel, benches: Sequence[benchmarks.PinnedBenchmark]) -> tuple[Stage, ...]:
    """The stages that search for judged benchmarks' prompts in the data that a model was trained on.

    A benchmark that is measured on the model itself has no prompts to search for.
    """
    judged, learned = [bench for bench in benches if bench.form is not None], training.learned_from(model.stage)
    searches = [graph.once(contamination.stage, data, bench) for bench in judged for data in learned]
    return tuple({stage.id: graph.share(stage) for stage in searches}.values())


def _evaluated(ctx: CellContext, bench: benchmarks.PinnedBenchmark, model: PlannedModel, judge_epoch: int) -> Evaluated:
    settings, share, gpus = ctx.settings, ctx.graph.share, ctx.settings.resources.gpus
    if bench.form is None:
        measured = share(measure.stage(bench, model, settings.generate, settings.eval_seed, gpus))
        return Evaluated(bench.name, share(score.measured_stage(bench, measured)))
    answers = share(answer.stage(bench, model, settings.generate, settings.eval_seed, gpus))
    verdicts = {name: share(stage) for name, stage in _verdicts(ctx, bench, answers, judge_epoch).items()}
    audit = _audit(ctx, bench, answers, judge_epoch)
    asked = audit if audit is not None and not audit.is_leaf else None
    routing = experts.utilisation_of(bench, model, settings.generate, gpus)
    return Evaluated(
        bench.name,
        share(score.stage(bench, answers, verdicts, audit)),
        tuple(JudgedStages(answers, stage, asked) for stage in verdicts.values()),
        share(routing) if routing is not None else None,
    )


def _verdicts(
    ctx: CellContext, bench: benchmarks.PinnedBenchmark, answers: Stage, judge_epoch: int
) -> dict[str, Stage]:
    """The stage of each judge's verdicts, by its name in a panel; by "" for a single judge."""
    settings = ctx.settings.judge
    if benchmarks.judged(bench.name).program is not None:
        return {"": judge.program_stage(bench, answers)}
    assert settings is not None, "the schema asks for a judge where a model must judge"
    stages = (_asked(ctx, bench, answers, alone, judge_epoch) for alone in settings.judges)
    return dict(zip(settings.names or ("",), stages, strict=True))


def _asked(
    ctx: CellContext,
    bench: benchmarks.PinnedBenchmark,
    answers: Stage,
    settings: JudgeSettings,
    judge_epoch: int,
    audit: AuditSettings | None = None,
) -> Stage:
    """The verdicts of a model judge."""
    settings = settings.model_copy(update={"epoch": max(settings.epoch, judge_epoch)})
    served = sources.model(ctx, ModelSettings(model=settings.model)) if settings.serve is not None else None
    return judge.model_stage(bench, answers, settings, served, ctx.settings.resources.gpus, audit)


def _audit(ctx: CellContext, bench: benchmarks.PinnedBenchmark, answers: Stage, judge_epoch: int) -> Stage | None:
    """What audits a model judge's verdicts: a reference judge's stage, or a pinned file."""
    audit = ctx.settings.judge.audit if ctx.settings.judge is not None else None
    if audit is None or benchmarks.judged(bench.name).program is not None:
        return None
    if audit.judge is not None:
        return ctx.graph.share(_asked(ctx, bench, answers, audit.judge, judge_epoch, audit))
    assert audit.file is not None, "the settings check that there is one reference"
    return ctx.graph.share(pinned_file(audit.file))
