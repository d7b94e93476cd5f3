"""A training pipeline as stages: each step starts from what the one before made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.data.settings import DatasetSettings, DataSettings
from harness.models.settings import ModelSettings
from harness.plan.memo import Memo
from harness.recipe.schema import CellRecipe, TrainStep
from harness.stages import command, dataset, mix, select, train
from harness.stages import targets as targets_stage
from harness.stages.api import Stage
from harness.stages.model import Weights
from harness.train.api import steps
from harness.train.job import TrainJob
from harness.train.settings import HeldOut, StepData, StepSettings, TargetSettings
from harness.train.steps.command import CommandSettings


@dataclass(frozen=True)
class Pipeline:
    """What is trained, on what, with which seed."""

    name: str
    steps: Sequence[TrainStep]
    data: DataSettings
    seed: int
    checkpoints: Sequence[float] = (1.0,)
    """Fractions of the last step at which the model is kept."""


def learned_from(model: Stage) -> list[Stage]:
    """The datasets that a model was trained on, or a model that it was made from or taught by."""
    return [stage.inputs["data"] for stage in model.walk() if stage.kind == train.KIND.name]


@dataclass(frozen=True)
class TrainingBuilder:
    """Makes the training stages of one cell."""

    settings: CellRecipe
    share: Callable[[Stage], Stage]
    memo: Memo
    model: Callable[[ModelSettings], Weights]
    teacher: Callable[[], Weights | None]
    """The recipe's teacher, where it has weights."""
    responses: Callable[[Stage], Stage]
    """Prompts -> the teacher's answers to them, as a dataset."""

    def trained(self, pipeline: Pipeline, start: Weights) -> list[Weights]:
        """What each step makes, in order."""
        made: list[Weights] = []
        for number, (step, settings) in enumerate((item for one in pipeline.steps for item in one.items()), 1):
            own = pipeline if number == len(pipeline.steps) else replace(pipeline, checkpoints=(1.0,))
            start = self._step(own, step, settings, start)
            made.append(start)
        return made

    def dataset(self, settings: DatasetSettings | None, title: str) -> Stage:
        """A dataset of the recipe."""
        assert settings is not None, "the schema checks that the data a step names is there"
        return self.share(self.memo(dataset.stage, settings, self.settings.data_seed, title))

    def teacher_data(self, data: DataSettings) -> Stage:
        """The teacher's responses: recorded, or made from `data.prompts`."""
        teacher = self.settings.teacher
        assert teacher is not None, "the schema checks that there is a teacher"
        if teacher.recorded is not None:
            return self.dataset(teacher.recorded, "recorded responses")
        return self.responses(self.dataset(data.prompts or data.train, "prompts"))

    def _step(self, pipeline: Pipeline, step: str, settings: StepData, start: Weights) -> Weights:
        if isinstance(settings, StepSettings):
            return self._selected(pipeline, step, settings, start)
        assert isinstance(settings, CommandSettings), "all other steps are ours"
        data, gpus = self._data(settings, pipeline.data), self.settings.resources.gpus
        return self._shared(command.stage(settings, start, data, pipeline.seed, gpus, pipeline.name))

    def _selected(self, pipeline: Pipeline, step: str, settings: StepSettings, start: Weights) -> Weights:
        """One training, or one per candidate and the choice among them by the same held-out examples."""
        if settings.select is None:
            return self._trained(pipeline, step, settings, start, None)
        held_out = HeldOut(settings.select.held_out, self.settings.data_seed)
        candidates = []
        for rate in settings.select.learning_rate:
            own = settings.model_copy(update={"learning_rate": rate, "select": None})
            named = replace(pipeline, name=f"{pipeline.name}, learning rate {rate:g}")
            candidates.append(self._trained(named, step, own, start, held_out))
        return self._shared(select.stage(step, settings.select, candidates, pipeline.name))

    def _trained(
        self, pipeline: Pipeline, step: str, settings: StepSettings, start: Weights, held_out: HeldOut | None
    ) -> Weights:
        data = self._data(settings, pipeline.data)
        teachers = {role: self._teacher_of(of, start) for role, of in steps()[step].teachers(settings).items()}
        targets: dict[tuple[str, str | None], Stage] = {}
        if isinstance(settings, TargetSettings) and settings.targets == "cached":
            targets, teachers = self._targets(step, settings, pipeline.data, teachers), {}
        job = TrainJob(
            steps()[step],
            settings,
            pipeline.seed,
            pipeline.name,
            domains=pipeline.data.domain_names if settings.data == "mix" else (),
            checkpoints=pipeline.checkpoints,
            held_out=held_out,
            parallel=self.settings.resources,
        )
        return self._shared(train.stage(job, start, data, teachers, targets, self.settings.resources.gpus))

    def _shared(self, made: Weights) -> Weights:
        return Weights(self.share(made.stage), made.name, made.part)

    def _teacher_of(self, of: str, start: Weights) -> Weights:
        """The weights that a role's `of` stands for (`Step.teachers`)."""
        if of == "student":
            return start
        if of == "teacher":
            teacher = self.teacher()
            assert teacher is not None, "the schema checks that the teacher has weights"
            return teacher
        return self.model(ModelSettings(model=of))

    def _targets(
        self, step: str, settings: TargetSettings, data: DataSettings, teachers: Mapping[str, Weights]
    ) -> dict[tuple[str, str | None], Stage]:
        """The stages that store what teachers predict, by role and domain (None: general conversations).

        A teacher predicts only the domains that the step's loss asks it about (`Step.asks`). It reads the recipe's
        datasets, not a mix of them, so that all ratios, students and seeds share its pass.
        """
        parts: dict[str | None, Stage] = {}
        if settings.data == "mix":
            parts |= {None: self.dataset(data.train, "train")} | dict(self._domains(data))
        else:
            parts |= {None: self._data(settings, data)}
        gpus = self.settings.resources.gpus
        return {
            (role, domain): self.share(self.memo(targets_stage.stage, teacher, part, settings, gpus))
            for role, teacher in teachers.items()
            for domain, part in parts.items()
            if steps()[step].asks(role, domain)
        }

    def _data(self, settings: StepData, data: DataSettings) -> Stage:
        if settings.data == "train":
            return self.dataset(data.train, "train")
        if settings.data == "domain":
            return self.dataset(data.domain, "domain")
        if settings.data == "mix":
            general, domains = self.dataset(data.train, "train"), self._domains(data)
            return self.share(mix.stage(settings, general, domains, self.settings.data_seed))
        return self.teacher_data(data)

    def _domains(self, data: DataSettings) -> dict[str, Stage]:
        given = {"domain": data.domain} if data.domain else data.domains
        return {name: self.dataset(given[name], name) for name in data.domain_names}
