"""What one cell of a recipe is, assembled from the rooms' own settings."""

from typing import Annotated, Literal, Self, TypeAlias, get_args

from pydantic import Field, model_validator

from harness.core.settings import Named, Settings, execution
from harness.data.settings import DatasetSettings, DataSettings
from harness.generate.api import GenerateSettings, ResponseSettings
from harness.judge.settings import RecipeJudgeSettings
from harness.models.settings import ModelSettings
from harness.report.settings import ReportSettings
from harness.teachers.settings import TeachersSettings
from harness.train.settings import Processes, StepData

TrainStep = Named[StepData]
"""One step of a training pipeline."""

DrawnSource = Literal["training", "data", "teacher", "responses"]
"""What a draw can make anew: the student's initialisation and the order of its training; the rows that it is trained
on; the training of its teacher; what that samples."""

Keep = Literal["all", "last", "scores"]
"""`last`: of what trainings made, the model each cell ends in; base models that are imported or built stay too.
`scores`: none."""

Checkpoint: TypeAlias = Annotated[float, Field(gt=0, le=1)] | Literal["mean"]
"""A fraction of a training, at which its model is kept; or the mean of the models that are kept."""


class TeacherSettings(Settings):
    """Who the student learns from: a model, or responses recorded earlier; exactly one."""

    model: str | None = None
    """A model reference; it answers `data.prompts`, and its logits serve `kd`."""
    recorded: DatasetSettings | None = None
    """Its responses, with their prompts, in a file: enough for `sft` on `data: teacher`."""
    responses: ResponseSettings = ResponseSettings()
    """How a teacher with a model answers `data.prompts` (or the prompts of `data.train`)."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.model is None) == (self.recorded is None):
            raise ValueError("a teacher has exactly one of 'model' and 'recorded'")
        return self


class MadeModel(Settings):
    """A model made by stages of this recipe; other settings name it as artifact:NAME."""

    base: str
    """Model reference to start from."""
    data: DataSettings = DataSettings()
    train: list[TrainStep]
    seed: int = 0
    """Its own, so that students of several seeds share one teacher."""
    data_seed: int | None = None
    """Which rows `limit` and mixes of its data draw; by default the recipe's `data_seed`."""


class DrawSettings(Settings):
    """Every cell several times, each time with other seeds: what a conclusion then holds for."""

    n: int = Field(ge=1, le=100)
    """How many draws. The first is the recipe as written."""
    of: list[DrawnSource] = Field(default_factory=lambda: list(get_args(DrawnSource)), min_length=1)
    """What each draw makes anew; by default everything."""


class ResourceSettings(Processes):
    """What one stage may use."""

    gpus: int = execution(0, ge=0)
    gpu: str | None = execution(None)
    """What they are, such as H100 or A100-80GB (`harness/plan/devices.csv`), where a plan is made on another machine;
    by default those that are here."""
    gpu_memory_gb: float | None = execution(None, gt=0)
    """The memory of each; by default what its kind has. A stage that takes more is refused before a run."""
    usd_per_gpu_hour: float | None = execution(None, gt=0)
    """For the price that a plan says."""

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.gpus and self.processes > self.gpus:
            raise ValueError(f"each of {self.processes} processes has a GPU of its own, and 'gpus' is {self.gpus}")
        if self.sharding != "none" and self.processes == 1:
            raise ValueError("'sharding' needs several 'processes'")
        if self.offload_teachers and self.sharding == "none":
            raise ValueError("'offload_teachers' is of teachers in shares: it needs 'sharding: fsdp'")
        return self


class CellRecipe(Settings):
    """One cell: everything that a student's training and evaluation depend on, no axis left open."""

    student: ModelSettings
    teacher: TeacherSettings | None = None
    models: dict[str, MadeModel] = Field(default_factory=dict)
    data: DataSettings = DataSettings()
    train: list[TrainStep] = Field(default_factory=list)
    """A pipeline of steps; empty for a cell that is only evaluated."""
    checkpoints: list[Checkpoint] = Field(default_factory=lambda: list[Checkpoint]([1.0]), min_length=1)
    """Fractions of the last step's training at which the model is kept and scored: an axis `checkpoint`, the last one,
    where there are several. `mean`, at the end of the list, is the model whose weights are the mean of these."""
    evaluate: list[Named[Settings]] = Field(default_factory=list)
    """One-key mappings: benchmark -> its settings."""
    generate: GenerateSettings = GenerateSettings()
    judge: RecipeJudgeSettings | None = None
    teachers: TeachersSettings | None = None
    """Teacher scores: a recipe with these and no `train` only scores teachers."""
    resources: ResourceSettings = execution(ResourceSettings())
    seed: int = 0
    """Training only."""
    data_seed: int = 0
    """Which rows `limit` and mixes draw; the same for all cells, as the next two are."""
    sample_seed: int = 0
    """A teacher's sampled responses."""
    eval_seed: int = 0
    """Sampled answers to benchmarks, and draws of few-shot examples."""
    draws: DrawSettings | None = execution(None)
    """`draws: 5`, or which sources of chance each draw makes anew: an axis `draw`, whose cells are replicates."""
    report: ReportSettings = execution(ReportSettings())
    keep: Keep = execution("all")
    """Which weights stay on disk once nothing that is to be done stands on them."""
