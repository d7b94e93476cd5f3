"""A run on the terminal while it goes on, drawn anew every two seconds; a plain line each time where there is none."""

import sys
import time
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.run.progress import Running, Snapshot, snapshot

_EVERY_S = 2.0
_STATES = ("done", "running", "failed", "waiting")


def watch(results: Path, run: str) -> None:
    """Show a run until its driver is gone or nothing is left to do; Ctrl-C ends watching, not the run."""
    now = snapshot(results, run)
    if not sys.stdout.isatty():
        while True:
            print(line(now), flush=True)
            if not now.alive:
                return
            time.sleep(_EVERY_S)
            now = snapshot(results, run)
    with Live(drawn(now), console=Console(), auto_refresh=False) as live:
        while now.alive:
            time.sleep(_EVERY_S)
            now = snapshot(results, run)
            live.update(drawn(now), refresh=True)


def line(now: Snapshot) -> str:
    """A run in one line."""
    states = now.states
    counts = ", ".join(f"{states[state]} {state}" for state in _STATES if states[state])
    parts = [f"{own.title}: {_far(own)}" for own in now.running.values()]
    return "; ".join([f"{now.run}: {counts}", *parts, *_judges(now)])


def drawn(now: Snapshot) -> RenderableType:
    """A run as a screen: the graph by kinds of stage, what is under way, what judges have cost."""
    parts: list[RenderableType] = [Text(line_of_state(now), style="bold"), _graph(now)]
    if now.running:
        parts.append(_under_way(now))
    return Group(*parts, *map(Text, _judges(now)))


def line_of_state(now: Snapshot) -> str:
    """Whether the run goes on, and how much is done."""
    total, done = now.states.total(), now.states["done"]
    state = "runs" if now.alive else "is finished" if done == total else "does not run now"
    return f"{now.run} {state}: {done} of {total} stages done"


def _graph(now: Snapshot) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    for state in _STATES:
        table.add_column(state, justify="right")
    table.add_column("")
    for kind, counts in now.kinds.items():
        cells = (Text(str(counts[s] or "-"), style="red" if s == "failed" and counts[s] else "") for s in _STATES)
        table.add_row(kind, *cells, ProgressBar(total=counts.total(), completed=counts["done"], width=24))
    return table


def _under_way(now: Snapshot) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("under way", "", "", ""):
        table.add_column(name)
    for own in now.running.values():
        bar = ProgressBar(total=own.total, completed=own.done, width=24) if own.total else Text("")
        table.add_row(Text(own.title), bar, Text(_far(own)), Text(f"{time.time() - own.since:.0f} s"))
    return table


def _far(own: Running) -> str:
    values = "".join(f" {k}={v:.4g}" if isinstance(v, float) else f" {k}={v}" for k, v in own.values.items())
    return f"{own.done}/{own.total} {own.unit}{values}" if own.total else "started"


def _judges(now: Snapshot) -> list[str]:
    found = []
    for spent in now.judges:
        unpriced = f" and {spent.unpriced} calls of unknown price" if spent.unpriced else ""
        found.append(f"judge {spent.judge}: {spent.calls} calls in this run, ${spent.usd:.2f}{unpriced}")
    return found
