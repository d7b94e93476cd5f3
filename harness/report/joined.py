"""Two runs as one, so that the cells of one can be compared with those of the same name in the other."""

from dataclasses import replace

import pandas as pd

from harness.core.errors import HarnessError
from harness.record.run import CellRecord, JudgeRecord
from harness.report.load import RunData

RUN_AXIS = "run"


def join_runs(ours: RunData, theirs: RunData) -> RunData:
    """Both runs' swept cells under one more axis, `run`; metrics that both have. What made them differ is a warning.

    Raises:
        HarnessError: they sweep different axes, or share no cell or no metric.
    """
    where = f"{ours.name}, {theirs.name}"
    names = (ours.name, theirs.name) if ours.name != theirs.name else (f"{ours.name} (1)", f"{theirs.name} (2)")
    if set(ours.axes) != set(theirs.axes):
        swept = " and ".join(", ".join(run.axes) or "none" for run in (ours, theirs))
        raise HarnessError(f"these runs sweep different axes: {swept}", where=where)
    metrics = tuple(m for m in ours.metrics if m in theirs.metrics)
    shared = {c.cell for c in ours.cells if not c.baseline} & {c.cell for c in theirs.cells if not c.baseline}
    if not metrics or not shared:
        what = "cell of one name" if metrics else "metric"
        raise HarnessError(f"these runs share no {what}", where=where, fix="Give two runs of one recipe or its like.")
    pairs = list(zip(names, (ours, theirs), strict=True))
    axes = {axis: tuple(dict.fromkeys([*ours.axes[axis], *theirs.axes[axis]])) for axis in ours.axes}
    return replace(
        ours,
        name=" and ".join(names),
        cells=tuple(_named(cell, name) for name, run in pairs for cell in run.cells if cell.cell in shared),
        metrics=metrics,
        axes={RUN_AXIS: names, **axes},
        samples=pd.concat([_moved(run.samples, name, shared) for name, run in pairs], ignore_index=True),
        scores=pd.concat([_moved(run.scores, name, shared) for name, run in pairs], ignore_index=True),
        warnings=_differences(ours, theirs),
        # What the recipe compares by default is not what two runs are joined for.
        settings=ours.settings.model_copy(update={"baseline": f"{RUN_AXIS}={names[1]}"}),
    )


def _named(cell: CellRecord, run: str) -> CellRecord:
    return replace(cell, cell=f"{run}/{cell.cell}", labels={RUN_AXIS: run, **cell.labels})


def _moved(table: pd.DataFrame, run: str, cells: set[str]) -> pd.DataFrame:
    own = table[table["cell"].isin(cells)]
    return own.assign(cell=run + "/" + own["cell"].astype(str), **{RUN_AXIS: run})


def _differences(ours: RunData, theirs: RunData) -> tuple[str, ...]:
    """Judges and library versions that are not the same."""
    found = [
        f"{a.benchmark}: judged by {a.judge} ({a.protocol}) in one run and by {b.judge} ({b.protocol}) in the other."
        for a in ours.judges
        for b in theirs.judges
        if a.benchmark == b.benchmark and _who(a) != _who(b)
    ]
    versions = [
        f"{name} {ours.versions[name]} and {theirs.versions[name]}"
        for name in ours.versions
        if name in theirs.versions and ours.versions[name] != theirs.versions[name]
    ]
    return (*found, *([f"Made with different versions: {', '.join(versions)}."] if versions else []))


def _who(judge: JudgeRecord) -> tuple[str, str]:
    return judge.judge, judge.protocol
