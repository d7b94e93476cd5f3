"""The stages of a run's plan: a table, `stages.parquet`, of which a reader takes the columns that it needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.core.canonical import digest
from harness.core.errors import HarnessError, brief

STAGES = "stages.parquet"
_SCHEMA = pa.schema(
    [("stage", pa.string()), ("kind", pa.string()), ("title", pa.string()), ("inputs", pa.list_(pa.int32()))]
)
MADE_AGAIN = "Run its recipe again (finished stages are kept), or remove its folder."


@dataclass(frozen=True)
class PlannedStage:
    """A stage as a run's folder has it."""

    kind: str
    title: str
    inputs: tuple[str, ...] = ()
    """Ids of the stages that it reads, which come before it; files that were there before the run are left out."""


def write_stages(folder: Path, stages: Mapping[str, PlannedStage]) -> None:
    """Write the stages by id. In the file an input is its row, counted from 0."""
    rows = {stage: row for row, stage in enumerate(stages)}
    columns = {
        "stage": list(stages),
        "kind": [stage.kind for stage in stages.values()],
        "title": [stage.title for stage in stages.values()],
        "inputs": [[rows[source] for source in stage.inputs] for stage in stages.values()],
    }
    pq.write_table(pa.table(columns, _SCHEMA), folder / STAGES, compression="zstd", use_dictionary=["kind"])


def read_stages(folder: Path) -> dict[str, PlannedStage]:
    """Every stage, by id."""
    table = _columns(folder, *_SCHEMA.names)
    ids = table["stage"]
    try:
        inputs = [tuple(ids[row] for row in rows) for rows in table["inputs"]]
    except (IndexError, TypeError) as error:
        raise _broken(folder, error) from None
    made = map(PlannedStage, table["kind"], table["title"], inputs)
    return dict(zip(ids, made, strict=True))


def stage_ids(folder: Path) -> list[str]:
    """The ids of all stages, each after its inputs."""
    return list(_columns(folder, "stage")["stage"])


def named_stages(folder: Path) -> list[tuple[str, str, str]]:
    """The id, kind and title of each stage."""
    table = _columns(folder, "stage", "kind", "title")
    return list(zip(table["stage"], table["kind"], table["title"], strict=True))


def graph_digest(stages: Mapping[str, PlannedStage]) -> str:
    """What tells a plan's stages from another's: an id is the digest of all that determines its stage."""
    return digest(list(stages))


def _columns(folder: Path, *columns: str) -> dict[str, Any]:
    try:
        table = pq.read_table(folder / STAGES, columns=list(columns), schema=_SCHEMA)
    except Exception as error:  # a broken file can fail in any way
        raise _broken(folder, error) from None
    if any(column.null_count for column in table.columns):
        raise HarnessError("has no value where each stage has one", where=str(folder / STAGES), fix=MADE_AGAIN)
    return dict(table.to_pydict())


def _broken(folder: Path, error: Exception) -> HarnessError:
    return HarnessError(f"cannot be read as stages ({brief(error)})", where=str(folder / STAGES), fix=MADE_AGAIN)
