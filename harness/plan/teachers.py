"""A cell's teacher and student base as stages: responses, rewards, the scoring pass, the score's ingredients."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.core.discover import discover
from harness.core.errors import HarnessError
from harness.models.settings import ModelSettings
from harness.recipe.schema import CellRecipe
from harness.stages import pick, respond, reward, reward_model, score_teacher, tokens
from harness.stages.api import Stage
from harness.stages.model import Weights
from harness.teachers.api import PASSES


@dataclass(frozen=True)
class ScoredTeacher:
    """One (teacher, student base) of a recipe."""

    student: str
    teacher: str
    stage: Stage
    weights: Weights | None = None
    """The teacher's, where it has any."""


@dataclass(frozen=True)
class TeacherBuilder:
    """Makes the teacher stages of one cell."""

    settings: CellRecipe
    labels: Mapping[str, str]
    share: Callable[[Stage], Stage]
    model: Callable[[ModelSettings], Weights]

    def responses(self, prompts: Stage) -> Stage:
        """The teacher's answers to `prompts`: the stage whose output is a dataset."""
        cell = self.settings
        assert cell.teacher is not None, "the schema checks that there is a teacher"
        assert cell.teacher.model is not None, "a teacher without recorded responses has a model"
        how, gpus = cell.teacher.responses, cell.resources.gpus
        teacher = self.model(ModelSettings(model=cell.teacher.model))
        answers = self.share(respond.stage(teacher, prompts, how, cell.generate, cell.sample_seed, gpus))
        if how.candidates == 1:
            return answers
        return self.share(pick.stage(answers, self._rewards(answers), how.pick, self._teacher))

    def scored(self, responses: Stage) -> ScoredTeacher:
        """The scores of the cell's teacher for the cell's student base."""
        cell = self.settings
        assert cell.teachers is not None, "asked for by the recipe"
        student = self.model(cell.student)
        passes: list[str] = [p for p in PASSES if p in self._needs()]
        title = f"{self._teacher} for {self._student}"
        read = self.share(
            tokens.stage(
                student,
                responses,
                cell.teachers.scoring,
                passes,
                cell.teachers.prompts,
                cell.data_seed,
                cell.resources.gpus,
                f"tokens of {title}",
            )
        )
        rewards = self._rewards(responses) if cell.teachers.reward is not None else None
        stage = score_teacher.stage(read, responses, rewards, cell.teachers, f"teacher scores of {title}")
        model = cell.teacher.model if cell.teacher is not None else None
        weights = self.model(ModelSettings(model=model)) if model is not None else None
        return ScoredTeacher(self._student, self._teacher, self.share(stage), weights)

    def _needs(self) -> set[str]:
        """What the wanted scores are made from; all passes by default."""
        assert self.settings.teachers is not None, "asked for by the recipe"
        known = discover("harness.teachers.scores", "SCORE")
        wanted = self.settings.teachers.scores or tuple(known)
        return {need for name in wanted for need in known[name].needs}

    def _rewards(self, responses: Stage) -> Stage:
        wanted = self.settings.teachers
        assert wanted is not None, "the schema checks that a pick has a reward"
        assert wanted.reward is not None, "the schema checks that a pick has a reward"
        settings, gpus = wanted.reward, self.settings.resources.gpus
        title = f"rewards of {self._teacher}"
        if settings.judge:
            judge = self.settings.judge
            assert judge is not None, "the schema checks that there is a judge"
            served = self.model(ModelSettings(model=judge.model)) if judge.serve is not None else None
            return self.share(reward.judged_stage(responses, judge, served, gpus, title))
        model = self.model(ModelSettings(model=settings.model)) if settings.model is not None else None
        if settings.trained is not None:
            own = settings.trained
            base = self.model(ModelSettings(model=own.base))
            trained = reward_model.stage(base, own.pairs, own.training, own.seed, gpus)
            model = Weights(self.share(trained.stage), trained.name, trained.part)
        return self.share(
            reward.stage(
                responses,
                settings,
                model=model,
                strength=self._strength() if settings.strength else None,
                gpus=gpus,
                title=title,
            )
        )

    def _strength(self) -> float:
        assert self.settings.teachers is not None, "asked for by the recipe"
        about = self.settings.teachers.about.get(self._teacher)
        if about is None or about.strength is None:
            raise HarnessError(
                f"the reward is each teacher's strength, and that of '{self._teacher}' is not given",
                where="teachers.about",
                fix=f"Write `{self._teacher}: {{strength: ...}}` there, or take another reward.",
            )
        return about.strength

    @property
    def _teacher(self) -> str:
        return teacher_name(self.settings, self.labels)

    @property
    def _student(self) -> str:
        return self.labels.get("student") or self.settings.student.model


def teacher_name(cell: CellRecipe, labels: Mapping[str, str]) -> str:
    """What a cell's teacher is called: its label on the axis `teacher`, or its reference, or its file's filter."""
    assert cell.teacher is not None, "a cell with a teacher"
    if "teacher" in labels:
        return labels["teacher"]
    if cell.teacher.model is not None:
        return cell.teacher.model
    recorded = cell.teacher.recorded
    assert recorded is not None, "the schema lets one of the two pass"
    return ",".join(map(str, recorded.where.values())) or "recorded"
