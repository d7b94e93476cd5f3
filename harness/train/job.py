"""A training as the plan makes it, an order stores it and `train.run.train` runs it."""

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
    """The name of the cell that is trained, or of the recipe's model."""
    domains: Sequence[str] = ()
    """The domains that conversations may be of; a batch's `domain` numbers them in this order."""
    checkpoints: Sequence[float] = (1.0,)
    """Fractions of the training at which the model is kept."""
    held_out: HeldOut | None = None
    parallel: Processes = field(default_factory=Processes)

    @property
    def title(self) -> str:
        """The training's name in progress lines and reporters."""
        return f"{self.step.name} {self.name}"

    @property
    def identity(self) -> dict[str, Json]:
        """All that determines the result, beside the inputs."""
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
        """All that changes no result."""
        settings = {name: getattr(self.settings, name) for name in _UNSEEN}
        return settings | self.parallel.model_dump(include=set(Processes.model_fields)) | {"name": self.name}

    @classmethod
    def restore(cls, identity: Mapping[str, Json], execution: Mapping[str, Json]) -> Self:
        """The job whose `identity` and `execution` these are."""
        step = steps()[identity["step"]]
        values = identity["settings"] | {name: execution[name] for name in _UNSEEN}
        settings = restore(step.settings, values)
        assert isinstance(settings, StepSettings), "a command trains by itself"
        return cls(
            step,
            settings,
            identity["seed"],
            execution["name"],
            domains=identity["domains"],
            checkpoints=identity["checkpoints"],
            held_out=HeldOut(**identity["held_out"]) if identity["held_out"] else None,
            parallel=restore(Processes, {name: execution[name] for name in Processes.model_fields}),
        )


@dataclass(frozen=True)
class StoredTargets:
    """A folder of a teacher's predictions from an earlier pass (`train.targets`)."""

    role: str
    """The teacher's role in the step's loss."""
    domain: str | None
    """The domain of the conversations that it read; None: general conversations."""
    folder: Path


@dataclass(frozen=True)
class TrainPlace:
    """The folders and files that a training reads and writes."""

    student: Path
    """A model's folder."""
    tokens: Sequence[Path]
    """The folders of stored tokens (`train.tokens`): one dataset's, or the general conversations' of a mix and those of
    each domain, in the job's order."""
    out: Path
    """The folder to fill."""
    work: Path
    """Holds the step checkpoints from which a stopped training continues."""
    events: Path
    """TensorBoard's folder for this training's curve."""
    teachers: Mapping[str, Path] = field(default_factory=dict)
    """Folders of the models that run beside the student, by role."""
    targets: Sequence[StoredTargets] = ()
    mix: Path | None = None
    """The file that says which rows of these make the mix (`train.examples.read_examples`)."""
