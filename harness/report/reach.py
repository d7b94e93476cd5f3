"""How far a verdict reaches: what was drawn anew for it, and what it has a single draw of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.record.run import CellRecord

_WORDS = {
    "training": ("training", "trainings"),
    "teacher": ("teacher", "teachers"),
    "data": ("sample of data", "samples of data"),
    "responses": ("sample of its responses", "samples of responses"),
}
"""Source of chance -> its noun, in the order in which sources are named."""


@dataclass(frozen=True)
class Reach:
    """How often each source of chance was drawn, for what is compared."""

    drawn: dict[str, int]
    """Source -> the number of draws; sources that play no part are left out."""

    @property
    def one_draw(self) -> bool:
        """Whether there is a single teacher or a single sample of data."""
        return any(self.drawn.get(source) == 1 for source in ("teacher", "data"))

    @property
    def words(self) -> str:
        """`3 trainings; one teacher, one sample of data`."""
        several = [f"{n} {_WORDS[source][1]}" for source, n in self.drawn.items() if n > 1]
        single = [f"one {_WORDS[source][0]}" for source, n in self.drawn.items() if n == 1]
        return "; ".join(", ".join(part) for part in (several, single) if part)


def reach(groups: Iterable[Sequence[CellRecord]]) -> Reach:
    """What is common to the cells of two rows: of each source the smaller number of draws.

    A row without a source, as an untrained model, does not count for it; nor does a baseline's making for trainings,
    since all cells that start from it share that.
    """
    found: dict[str, int] = {}
    for cells in groups:
        for source in _WORDS:
            made = [cell for cell in cells if source in cell.sources and not (cell.baseline and source == "training")]
            labels = {cell.sources[source] for cell in made}
            if labels:
                found[source] = min(len(labels), found.get(source, len(labels)))
    return Reach({source: found[source] for source in _WORDS if source in found})
