"""The events of a run, for the terminal, the log and the driver."""

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
    """A stage has done `done` of `total` units."""

    stage: str
    done: int
    total: int
    unit: str
    values: dict[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """A stage has ended: `built`, `found` (another process built it), `busy` (another process is building it), `failed`
    or `damaged` (an input differs from what was stored; the stage waits until that is made again)."""

    stage: str
    title: str
    status: str
    seconds: float = 0.0
    error: str = ""
    input: str = ""
    """For status `damaged`: the id of the damaged input."""


Event = Started | Advanced | Ended
"""What happens to stages."""


class Listener(Protocol):
    """Receives every event, in order."""

    def __call__(self, event: Event, /) -> None:
        """Receive an event."""
        ...
