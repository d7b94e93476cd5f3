"""A cell's teacher and student base as stages: responses, rewards, the scoring pass, the score's ingredients."""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.core.errors import HarnessError
from harness.models.settings import ModelSettings
from harness.plan import sources
from harness.plan.context import CellContext
from harness.recipe.schema import CellRecipe
from harness.stages import pick, respond, reward, reward_model, score_teacher, tokens
from harness.stages.api import Stage
from harness.stages.model import PlannedModel
from harness.teachers.api import PASSES, all_scores
from harness.teachers.settings import TeachersSettings


@dataclass(frozen=True)
class ScoredTeacher:
    """A (teacher, student base) of a recipe."""

    student: str
    teacher: str
    stage: Stage
    weights: PlannedModel | None = None
    """The teacher's model; None for recorded responses."""


def responses(ctx: CellContext, prompts: Stage) -> Stage:
    """The stage whose output is a dataset: the teacher's responses to `prompts`."""
    cell, graph = ctx.settings, ctx.graph
    assert cell.teacher is not None, "the schema checks that there is a teacher"
    teacher = sources.teacher_model(ctx)
    assert teacher is not None, "a teacher without recorded responses has a model"
    how, gpus = cell.teacher.responses, cell.resources.gpus
    answers = graph.share(respond.stage(teacher, prompts, how, cell.generate, cell.sample_seed, gpus))
    if how.candidates == 1:
        return answers
    return graph.share(pick.stage(answers, _rewards(ctx, answers), how.pick, teacher_name(cell, ctx.labels)))


def scored(ctx: CellContext, responses: Stage) -> ScoredTeacher:
    """The scores of the cell's teacher for the cell's student base."""
    cell, gpus = ctx.settings, ctx.settings.resources.gpus
    settings = cell.teachers
    assert settings is not None, "the recipe has teacher scores"
    teacher, student = teacher_name(cell, ctx.labels), ctx.labels.get("student") or cell.student.model
    pair = f"{teacher} for {student}"
    known = all_scores()
    needs = {need for name in settings.scores or known for need in known[name].needs}
    passes: list[str] = [p for p in PASSES if p in needs]
    base, title = sources.model(ctx, cell.student), f"tokens of {pair}"
    read = tokens.stage(base, responses, settings.scoring, passes, settings.prompts, cell.data_seed, gpus, title)
    rewards = _rewards(ctx, responses) if settings.reward is not None else None
    stage = score_teacher.stage(ctx.graph.share(read), responses, rewards, settings, f"teacher scores of {pair}")
    return ScoredTeacher(student, teacher, ctx.graph.share(stage), sources.teacher_model(ctx))


def _rewards(ctx: CellContext, responses: Stage) -> Stage:
    cell, teacher, gpus = ctx.settings, teacher_name(ctx.settings, ctx.labels), ctx.settings.resources.gpus
    assert cell.teachers is not None, "the schema checks that a pick has a reward"
    settings = cell.teachers.reward
    assert settings is not None, "the schema checks that a pick has a reward"
    title = f"rewards of {teacher}"
    if settings.judge:
        assert cell.judge is not None, "the schema checks that there is a judge"
        judge = cell.judge.judges[0]
        served = sources.model(ctx, ModelSettings(model=judge.model)) if judge.serve is not None else None
        return ctx.graph.share(reward.judged_stage(responses, judge, served, gpus, title))
    model = sources.model(ctx, ModelSettings(model=settings.model)) if settings.model is not None else None
    if settings.trained is not None:
        recipe = settings.trained
        base = sources.model(ctx, ModelSettings(model=recipe.base))
        model = ctx.graph.share_model(reward_model.stage(base, recipe.pairs, recipe.training, recipe.seed, gpus))
    strength = _strength(cell.teachers, teacher) if settings.strength else None
    return ctx.graph.share(reward.stage(responses, settings, model=model, strength=strength, gpus=gpus, title=title))


def _strength(settings: TeachersSettings, teacher: str) -> float:
    about = settings.about.get(teacher)
    if about is None or about.strength is None:
        raise HarnessError(
            f"the reward is each teacher's strength, and the strength of '{teacher}' is not given",
            where="teachers.about",
            fix=f"Write `{teacher}: {{strength: ...}}` there, or take another reward.",
        )
    return about.strength


def teacher_name(cell: CellRecipe, labels: Mapping[str, str]) -> str:
    """The name of a cell's teacher: its label on the axis `teacher`, else its reference, else its file's filter."""
    assert cell.teacher is not None, "a cell with a teacher"
    if "teacher" in labels:
        return labels["teacher"]
    if cell.teacher.model is not None:
        return cell.teacher.model
    recorded = cell.teacher.recorded
    assert recorded is not None, "the schema checks that a teacher has a model or recorded responses"
    return ",".join(map(str, recorded.where.values())) or "recorded"
