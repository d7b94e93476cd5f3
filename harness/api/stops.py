"""A rehearsal's trainings, each kind of which is stopped once and taken up again."""

import time
from collections.abc import Sequence

from harness.api.runs import Listener
from harness.plan.build import Plan
from harness.run.events import Advanced, Began, Ended, Event
from harness.stages import train
from harness.store.store import Store
from harness.train.trainer import last_checkpoint

_SAVED_S, _LOOK_S = 60.0, 0.01
"""How long a training's first checkpoint may take to be whole, and the pause between two looks."""


class StopError(Exception):
    """A training has saved its first step: the run is stopped, and run again."""


class Stops:
    """Stops the run in the first training of each step, when its first checkpoint is whole; hears what goes on then."""

    def __init__(self, plan: Plan, store: Store, listen: Listener) -> None:
        self._store, self._listen = store, listen
        stages = [stage for stage in plan.stages.values() if stage.kind == train.KIND.name]
        self._step = {s.id: f"{s.params['step']} in {s.execution['processes']} process(es)" for s in stages}
        self._stopped: dict[str, str] = {}
        """Step -> the training that was stopped."""
        self._resumed: set[str] = set()
        self.ended: dict[str, str | None] = dict.fromkeys(plan.stages)
        """Stage -> its error, "" where it ended well, None where it was not reached."""

    def __call__(self, event: Began | Event) -> None:
        """Pass the event on; raise where this is the moment to stop."""
        if isinstance(event, Ended) and event.status in ("built", "found", "failed"):
            self.ended[event.stage] = event.error
        self._listen(event)
        if not isinstance(event, Advanced) or event.stage not in self._step or self.ended[event.stage] == "":
            return
        step = self._step[event.stage]
        if step not in self._stopped:
            self._stopped[step] = event.stage
            if self._saved(event.stage):
                raise StopError
        elif self._stopped[step] == event.stage and event.done > 1:
            self._resumed.add(step)

    def _saved(self, stage: str) -> bool:
        """Wait for the training's first whole checkpoint; False where there is none in time."""
        work, end = self._store.partial / stage / "work", time.monotonic() + _SAVED_S
        while time.monotonic() < end and work.exists():
            if last_checkpoint(work) is not None:
                return True
            time.sleep(_LOOK_S)
        return False

    def says(self) -> Sequence[str]:
        """A sentence for each step whose taking up again was not seen."""
        return [f"taking up {step} again: it ended first" for step in self._stopped if step not in self._resumed]
