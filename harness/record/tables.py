"""The tables of a run folder, each a Parquet file: their columns, how they are written, how they are read again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.bench.api import APPROXIMATE, SAMPLE_COLUMNS, SCORE_COLUMNS
from harness.core.errors import HarnessError, brief
from harness.record.run import AGAIN
from harness.stages import utilisation


@dataclass(frozen=True)
class TableFile:
    """One table. A row is of a cell, whose name is its first column; in samples and scores `baseline` and a column for
    each axis stand behind it."""

    name: str
    """The stem of its file."""
    columns: tuple[str, ...]
    """Those that every run has."""
    more: tuple[str, ...] = ()
    """Those behind them that a reader does without."""
    csv: bool = False
    """It is written as CSV too."""
    optional: bool = False
    """A run without the file has no such rows."""


SHARES = ("cut", "empty", "unfinished")
"""Beside a score, the shares (0 to 1) of its answers that ended so."""
COMPLETE, COMPLETE_N = "complete_value", "complete_n"
"""Beside a score, what it is over complete answers alone, and over how many samples."""
SAMPLES = TableFile("samples", ("cell", *SAMPLE_COLUMNS), ("ending",), csv=True)
SCORES = TableFile("scores", ("cell", *SCORE_COLUMNS), (APPROXIMATE, *SHARES, COMPLETE, COMPLETE_N), csv=True)
TRANSCRIPTS = TableFile(
    "transcripts",
    ("cell", "benchmark", "item", "category", "turn", "question", "answer", "reference", "verdict", "value", "status"),
    optional=True,
)
CURVES = TableFile("curves", ("cell", "step_name", "step", "tokens", "metric", "value"), optional=True)
EXPERTS = TableFile("experts", ("cell", "benchmark", *utilisation.COLUMNS), csv=True, optional=True)


def write_table(folder: Path, table: TableFile, frames: Sequence[pd.DataFrame], lead: Sequence[str] = ()) -> None:
    """Write the frames below each other; the columns `lead` stand behind the cell's name."""
    first, *rest = table.columns
    columns = [first, *lead, *rest, *table.more]
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    frame = frame[columns]
    frame.to_parquet(folder / f"{table.name}.parquet", index=False)
    if table.csv:
        frame.to_csv(folder / f"{table.name}.csv", index=False)


def read_table(folder: Path, table: TableFile) -> pd.DataFrame:
    """Read a table; numbers that a run does not know are NaN.

    Raises:
        HarnessError: it is not there, is broken or has not its columns; names the file.
    """
    path = folder / f"{table.name}.parquet"
    if not path.exists():
        if table.optional:
            return pd.DataFrame(columns=list(table.columns))
        raise HarnessError("the run has no such table", where=str(path), fix=AGAIN)
    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # a broken file can fail in any way
        raise HarnessError(f"cannot be read as Parquet ({brief(error)})", where=str(path), fix=AGAIN) from None
    missing = [c for c in table.columns if c not in frame.columns]
    if missing:
        raise HarnessError(f"has no column {', '.join(missing)}", where=str(path), fix=AGAIN)
    for column in {"value", "stderr", *SHARES, COMPLETE} & set(frame.columns):
        try:
            frame[column] = frame[column].astype("Float64").astype("float64")
        except (ValueError, TypeError):
            raise HarnessError(f"`{column}` does not hold numbers", where=str(path), fix=AGAIN) from None
    return frame
