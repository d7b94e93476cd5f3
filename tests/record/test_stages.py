"""A run's stages as a table: what was written is read, in parts and whole; a broken file is named."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.core.errors import HarnessError
from harness.record.stages import STAGES, PlannedStage, named_stages, read_stages, stage_ids, write_stages

PLANNED = {
    "a": PlannedStage("dataset", "data of ümlaut, 2"),
    "b": PlannedStage("train", "sft of a", ("a",)),
    "c": PlannedStage("mix", "a mix", ("a", "b")),
}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_stages(tmp_path, PLANNED)
    assert read_stages(tmp_path) == PLANNED
    assert list(read_stages(tmp_path)) == stage_ids(tmp_path) == ["a", "b", "c"], "inputs come first"
    assert named_stages(tmp_path)[1] == ("b", "train", "sft of a")


def test_a_plan_without_stages(tmp_path: Path) -> None:
    write_stages(tmp_path, {})
    assert read_stages(tmp_path) == {}
    assert stage_ids(tmp_path) == []


@pytest.mark.parametrize("reader", [read_stages, stage_ids, named_stages])
def test_a_torn_table_is_named(tmp_path: Path, reader: object) -> None:
    write_stages(tmp_path, PLANNED)
    path = tmp_path / STAGES
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(HarnessError, match="cannot be read as stages"):
        reader(tmp_path)  # type: ignore[operator]


def test_a_row_without_an_id_and_an_input_that_is_no_row(tmp_path: Path) -> None:
    columns = {"stage": ["a", None], "kind": ["x", "y"], "title": ["", ""], "inputs": [[], [0]]}
    pq.write_table(pa.table(columns), tmp_path / STAGES)
    with pytest.raises(HarnessError, match="has no value where each stage has one"):
        stage_ids(tmp_path)
    pq.write_table(pa.table(columns | {"stage": ["a", "b"], "inputs": [[], [7]]}), tmp_path / STAGES)
    with pytest.raises(HarnessError, match="cannot be read as stages"):
        read_stages(tmp_path)
