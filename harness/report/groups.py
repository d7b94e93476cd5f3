"""Rows of a report: cells that differ only in their seed are one row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.core.errors import HarnessError
from harness.record.run import CellRecord
from harness.report.load import SEED_AXIS, RunData


@dataclass(frozen=True)
class Group:
    """One or more cells that are replicates of each other."""

    name: str
    labels: tuple[tuple[str, str], ...]
    """(axis, label), the seed axis left out."""
    cells: tuple[CellRecord, ...]
    baseline: bool = False

    @property
    def title(self) -> str:
        """The labels alone, for a reader; a baseline's name, whose labels a swept row may have too."""
        return self.name if self.baseline else " · ".join(label for _, label in self.labels) or self.name

    @property
    def failed(self) -> tuple[CellRecord, ...]:
        """Replicates that failed."""
        return tuple(c for c in self.cells if c.failed)

    def replicates(self) -> list[str]:
        """Names of its cells, each unit of work once: cells whose stages coincide are one replicate, not two."""
        seen: dict[object, str] = {}
        for cell in self.cells:
            seen.setdefault(cell.stages or cell.cell, cell.cell)
        return list(seen.values())


def group_cells(run: RunData) -> list[Group]:
    """The run's rows, baselines first, in the recipe's order."""
    rows: dict[tuple[object, ...], list[CellRecord]] = {}
    for cell in run.cells:
        labels = _without_seed(cell)
        rows.setdefault(
            (cell.baseline, labels, cell.cell if not labels and SEED_AXIS not in cell.labels else ""), []
        ).append(cell)
    groups = [_group(cells) for cells in rows.values()]
    return sorted(groups, key=lambda g: not g.baseline)


def single(cell: CellRecord) -> Group:
    """One cell as a row of its own, whatever its replicates."""
    return Group(cell.cell, tuple(cell.labels.items()), (cell,), cell.baseline)


def _group(cells: Sequence[CellRecord]) -> Group:
    labels = _without_seed(cells[0])
    if cells[0].baseline:
        return Group(cells[0].cell, labels, tuple(cells), True)
    name = ",".join(f"{axis}={label}" for axis, label in labels)
    return Group(name or (cells[0].cell if len(cells) == 1 else "all seeds"), labels, tuple(cells))


def _without_seed(cell: CellRecord) -> tuple[tuple[str, str], ...]:
    return tuple((axis, label) for axis, label in cell.labels.items() if axis != SEED_AXIS)


Pairs = list[tuple[Group, Group]]
"""(cell, what it is compared against)."""


def against(run: RunData, baseline: str | None) -> Pairs:
    """Which rows are compared with which.

    - a row or baseline by name: every other row against it;
    - a single cell by name, seed and all: every single cell against it;
    - labels such as `method=sft`: each row against the row that differs from it only there;
    - None: the recipe's `report.baseline`, else the first baseline, else the first row.
    """
    groups = group_cells(run)
    if not groups:
        return []
    chosen = baseline or run.settings.baseline
    if chosen is None:
        return _all_against(groups, groups[0])
    by_name = {g.name: g for g in groups}
    if chosen in by_name:
        return _all_against(groups, by_name[chosen])
    cell = next((c for c in run.cells if c.cell == chosen), None)
    if cell is not None:
        return _all_against([single(c) for c in run.cells], single(cell))
    wanted = dict(part.split("=", 1) for part in chosen.split(",") if "=" in part)
    known = all(label in run.axes.get(axis, ()) for axis, label in wanted.items()) and SEED_AXIS not in wanted
    if not wanted or not known:
        names = ", ".join([g.name for g in groups] + [f"{a}={v[0]}" for a, v in run.axes.items() if a != SEED_AXIS])
        raise HarnessError(f"no cell or label '{chosen}' in run {run.name}", fix=f"For example: {names}.")
    return matched(groups, wanted)


def _all_against(groups: Sequence[Group], base: Group) -> Pairs:
    """Everything against one row; other baselines only where there is nothing else to compare."""
    others = [g for g in groups if g.name != base.name]
    swept = [g for g in others if not g.baseline]
    return [(g, base) for g in swept or others]


def matched(groups: Sequence[Group], labels: Mapping[str, str]) -> Pairs:
    """Each row of the sweep against the row that differs from it only in having these labels (axis -> label)."""
    by_labels = {frozenset(g.labels): g for g in groups if not g.baseline}
    pairs = []
    for group in by_labels.values():
        base = by_labels.get(frozenset({**dict(group.labels), **labels}.items()))
        if base is not None and base is not group:
            pairs.append((group, base))
    return pairs
