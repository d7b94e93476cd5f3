"""One training as the plan makes it, an order stores it and `train.run.train` runs it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from harness.core.canonical import Json
from harness.core.settings import identity as identity_of
from harness.core.settings import restore
from harness.train.api import Step, steps
from harness.train.settings import HeldOut, Processes, StepSettings

_UNSEEN = ("save_every", "gradient_checkpointing", "report_to")
"""Settings of the step that change no result."""


@dataclass(frozen=True)
class TrainJob:
    """What is trained and how; `TrainPlace` says where."""

    step: Step
    settings: StepSettings
    seed: int
    name: str
    """Whose training it is: the cell's, or the model's that the recipe names."""
    domains: Sequence[str] = ()
    """The domains that conversations may be of, in the order that a batch's `domain` counts."""
    checkpoints: Sequence[float] = (1.0,)
    """Fractions of the training at which the model is kept."""
    held_out: HeldOut | None = None
    parallel: Processes = field(default_factory=Processes)

    @property
    def title(self) -> str:
        """What progress lines and reporters call it."""
        return f"{self.step.name} {self.name}"

    @property
    def identity(self) -> dict[str, Json]:
        """What determines the result, beside the inputs."""
        return {
            "step": self.step.name,
            "settings": identity_of(self.settings),
            "seed": self.seed,
            "domains": list(self.domains),
            "checkpoints": list(self.checkpoints),
            "held_out": vars(self.held_out) if self.held_out else None,
        }

    @property
    def execution(self) -> dict[str, Json]:
        """What changes no result."""
        settings = {name: getattr(self.settings, name) for name in _UNSEEN}
        return settings | self.parallel.model_dump(include={"processes", "sharding"}) | {"name": self.name}

    @classmethod
    def restore(cls, identity: Mapping[str, Json], execution: Mapping[str, Json]) -> Self:
        """The job that `identity` and `execution` were made of."""
        step = steps()[identity["step"]]
        values = identity["settings"] | {name: execution[name] for name in _UNSEEN}
        settings = restore(step.settings, values)
        assert isinstance(settings, StepSettings), "a command is no training of ours"
        return cls(
            step,
            settings,
            identity["seed"],
            execution["name"],
            domains=identity["domains"],
            checkpoints=identity["checkpoints"],
            held_out=HeldOut(**identity["held_out"]) if identity["held_out"] else None,
            parallel=Processes(processes=execution["processes"], sharding=execution["sharding"]),
        )


@dataclass(frozen=True)
class StoredTargets:
    """What a teacher predicted in an earlier pass (`train.targets`)."""

    role: str
    """Of the teacher, in the step's loss."""
    domain: str | None
    """Of the conversations that it read; None: general ones."""
    folder: Path


@dataclass(frozen=True)
class TrainPlace:
    """Where a training finds what it reads, and where it puts what it makes."""

    student: Path
    """A model's folder."""
    conversations: Path
    """A file: {id, messages} and, in a mix, `domain` a line."""
    out: Path
    """The folder to fill."""
    work: Path
    """Step checkpoints, from which a stopped training goes on."""
    events: Path
    """TensorBoard's folder for this training's curve."""
    teachers: Mapping[str, Path] = field(default_factory=dict)
    """Folders of the models that run beside the student, by role."""
    targets: Sequence[StoredTargets] = ()
