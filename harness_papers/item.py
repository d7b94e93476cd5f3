"""What a table or figure of a paper is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from matplotlib.figure import Figure

from harness.core.errors import HarnessError
from harness.report.tables import Column
from harness.report.teacher_tables import file_name
from harness_papers.layout import Block, Origin, PaperTable, beside
from harness_papers.own import OwnRun


@dataclass(frozen=True)
class Item:
    """A table, its figure where it has one, and how a run's own numbers get into both."""

    name: str
    title: str
    source: str
    """The paper, and its table where it prints one."""
    origin: Origin
    lead: tuple[Column, ...]
    block: Callable[[], Block]
    """The paper's numbers."""
    note: str = ""
    """What a reader of these numbers must know."""
    own: Callable[[OwnRun], Block] | None = None
    """A run's numbers in the same layout; HarnessError where it lacks them. None where no run could have them."""
    draw: Callable[[Sequence[Block]], Figure] | None = None
    caption: str = ""
    """What the figure shows."""
    together: bool = False
    """A run's numbers are drawn into the paper's figure; else in a figure of their own."""

    def of_run(self, run: OwnRun) -> Block:
        """A run's block.

        Raises:
            HarnessError: it lacks what this table shows.
        """
        if self.own is None:
            fix = "`harness paper list` says which tables take one."
            raise HarnessError(f"no run adds to {self.name}", where=run.name, fix=fix)
        return self.own(run)

    def tables(self, own: Sequence[Block] = ()) -> list[PaperTable]:
        """The paper's numbers, and those of runs: in one table where they share rows or columns, else a table each."""
        paper = self.block()
        shared = [b for b in own if b.rows.keys() & paper.rows.keys() or b.columns.keys() & paper.columns.keys()]
        notes = (self.note,) if self.note else ()
        found = [beside(self.name, f"{self.title} ({self.source})", self.lead, [paper, *shared], notes)]
        for block in (b for b in own if b not in shared):
            name = f"{self.name}_{file_name(block.source)}"
            found.append(beside(name, f"{self.title}: {block.source}", self.lead, [block], ()))
        return found

    def figures(self, own: Sequence[Block] = ()) -> list[tuple[str, str, "partial[Figure]"]]:
        """(stem, caption, how to draw it) of the paper's figure, and of one per run and outcome in its layout."""
        if self.draw is None:
            return []
        blocks = [self.block(), *own]
        if self.together:
            return [(self.name, self.caption, partial(self.draw, blocks))]
        found = [(self.name, self.caption, partial(self.draw, blocks[:1]))]
        for k, block in enumerate(part for b in own for part in _by_group(b)):
            [group] = {c.group for c in block.columns.values()}
            found.append((f"{self.name}_run_{k}", f"The same for {group}.", partial(self.draw, [block])))
        return found


def _by_group(block: Block) -> list[Block]:
    """A block's outcomes one by one: those of other units do not belong in one figure."""
    groups = dict.fromkeys(c.group for c in block.columns.values())
    return [replace(block, columns={k: c for k, c in block.columns.items() if c.group == g}) for g in groups]
