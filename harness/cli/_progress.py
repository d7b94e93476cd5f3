"""Events of a run on the terminal: live bars where there is one, plain lines otherwise. Always on stderr."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from harness.run.events import Advanced, Began, Ended, Event, Started

_EVERY_S = 15.0
_VERBS = {
    "built": "done",
    "found": "was there",
    "busy": "waits for another process",
    "damaged": "damage found, is made again:",
    "failed": "FAILED",
}


def show(total: int = 0) -> "Lines | Bars":
    """A listener, as a context manager, for `total` stages or for as many as `Began` says."""
    return Bars(total) if sys.stderr.isatty() else Lines(total)


def _begin(event: Began) -> None:
    _say(f"{event.run}: {event.cells} cells, {event.stages} stages, {event.to_run} to run")
    for note in event.notes:
        _say(note)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Lines:
    """Plain lines: a stage's begin and end, and how far it is every quarter of a minute."""

    def __init__(self, total: int) -> None:
        self.total, self.over = total, 0
        self.titles: dict[str, str] = {}
        self.said: dict[str, float] = {}
        self.long: set[str] = set()
        """Stages that take long enough to tell how far they are."""
        self.begun: dict[tuple[str, int], tuple[float, int]] = {}
        """(stage, total) -> when it was first told how far it is, and how far: lm-eval's total grows with each kind."""

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        pass

    def __call__(self, event: Began | Event) -> None:
        """Print what is worth a line."""
        now = time.monotonic()
        if isinstance(event, Began):
            self.total, self.over = event.to_run, 0
            _begin(event)
        elif isinstance(event, Started):
            self.titles[event.stage], self.said[event.stage] = event.title, now
            _say(f"start {event.title}")
        elif isinstance(event, Ended):
            self.over += event.status not in ("busy", "damaged")
            self.total += event.status == "damaged"
            _say(f"[{self.over}/{self.total}] {_VERBS[event.status]} {event.title} ({event.seconds:.1f} s)")
            if event.error:
                _say(event.error)
        elif now - self.said[event.stage] > _EVERY_S or (event.done == event.total and event.stage in self.long):
            self.long.add(event.stage)
            self.said[event.stage] = now
            _say(f"  {self.titles[event.stage]}: {self._far(event, now)}")

    def _far(self, event: Advanced, now: float) -> str:
        since, at = self.begun.setdefault((event.stage, event.total), (now, event.done))
        rate = (event.done - at) / (now - since) if now > since else 0.0
        left = f", {(event.total - event.done) / rate:.0f} s left" if rate > 0 and event.done < event.total else ""
        return f"{event.done}/{event.total} {event.unit}{_values(event)}{left}"


class Bars:
    """Live bars: one for the stages, one for each that runs."""

    def __init__(self, total: int) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),  # the names in it are the user's
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}{task.fields[values]}", markup=False),
            TimeRemainingColumn(compact=True),
        )
        self.total = total
        self.progress = Progress(*columns, console=Console(stderr=True))
        self.all = self.progress.add_task("stages", total=total, unit="", values="")
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.progress.stop()

    def __call__(self, event: Began | Event) -> None:
        """Move the bars; the first event draws them."""
        if isinstance(event, Began):
            self.total = event.to_run
            self.progress.update(self.all, total=self.total, completed=0)
            _begin(event)
            return
        if not self.progress.live.is_started:
            self.progress.update(self.all, total=self.total)
            self.progress.start()
        if isinstance(event, Started):
            self.tasks[event.stage] = self.progress.add_task(event.title, total=None, unit="", values="")
        elif isinstance(event, Advanced):
            values = _values(event)
            self.progress.update(
                self.tasks[event.stage], completed=event.done, total=event.total, unit=event.unit, values=values
            )
        else:
            if event.stage in self.tasks:
                self.progress.remove_task(self.tasks.pop(event.stage))
            if event.status == "damaged":
                self.total += 1
            self.progress.update(self.all, total=self.total, advance=event.status not in ("busy", "damaged"))
            if event.error:
                self.progress.console.print(Text.assemble((_VERBS[event.status], "red"), f" {event.title}"))
                self.progress.console.print(event.error, markup=False, highlight=False)


def _values(event: Advanced) -> str:
    shown = (f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in event.values.items())
    return "".join(f" {text}" for text in shown)
