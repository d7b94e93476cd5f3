"""What happens during a run, as the terminal and the log hear it."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Began:
    """A run is about to begin."""

    run: str
    cells: int
    stages: int
    to_run: int
    """Stages that are not done yet."""
    notes: tuple[str, ...] = ()
    """What is to be known before it runs: what is left out, which engine answers, what judges will cost."""


@dataclass(frozen=True)
class Started:
    """A stage has begun."""

    stage: str
    title: str


@dataclass(frozen=True)
class Advanced:
    """A stage is `done` of `total` units far."""

    stage: str
    done: int
    total: int
    unit: str
    values: dict[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """A stage is over: `built`, `found` (another process built it), `busy` (one is building it) or `failed`; or it is
    `damaged`: it met an input that is no longer what was stored, and waits until that is made again."""

    stage: str
    title: str
    status: str
    seconds: float = 0.0
    error: str = ""
    input: str = ""
    """Of a damaged one: the input's id."""


Event = Started | Advanced | Ended
"""What happens to stages."""


class Listener(Protocol):
    """Hears every event, in order."""

    def __call__(self, event: Event, /) -> None:
        """Take note."""
        ...
