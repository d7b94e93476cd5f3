"""Files that are not read whole: what is wrong in one row of many is named and counted, and no other row is lost."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.core.errors import HarnessError
from harness.data.files import records
from harness.data.readers import Dataset, read_dataset, write_dataset
from harness.data.settings import DatasetSettings


def settings(path: Path, **more: Any) -> DatasetSettings:
    return DatasetSettings.model_validate_json(json.dumps({"path": str(path), **more}))


def read(path: Path, **more: Any) -> Dataset:
    return read_dataset(settings(path, **more), 0)


def row(number: int, **changed: Any) -> dict[str, Any]:
    return {"id": number, "prompt": f"Say {number}.", "response": f"{number}!", **changed}


def lines(path: Path, rows: Iterable[Any]) -> Path:
    with path.open("wb") as file:
        file.writelines(
            (one if isinstance(one, bytes) else json.dumps(one, ensure_ascii=False).encode()) + b"\n" for one in rows
        )
    return path


BROKEN = b'{"id": 5, "prompt": "Say'


def test_broken_lines_are_named_and_counted(tmp_path: Path) -> None:
    rows: list[Any] = [row(n) for n in range(3000)]
    for number in (7, 99, 100, 1500, 2000, 2001, 2500):
        rows[number] = BROKEN
    with pytest.raises(HarnessError) as caught:
        read(lines(tmp_path / "rows.jsonl", rows))
    assert caught.value.what.startswith("broken JSON line (Invalid control character at column 25)")
    assert caught.value.where == f"{tmp_path}/rows.jsonl:8"
    want = "Mend or remove this line. Broken too: lines 100, 101, 1501, 2001, 2002, and 1 more."
    assert caught.value.fix == want


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    rows: list[Any] = [row(0), json.dumps(row(1)).encode().replace(b"Say", b"S\xe4y"), row(2)]
    with pytest.raises(HarnessError, match="not UTF-8 text: invalid continuation byte at byte 23") as caught:
        read(lines(tmp_path / "rows.jsonl", rows))
    assert caught.value.where == f"{tmp_path}/rows.jsonl:2"


@pytest.mark.slow
def test_one_broken_line_of_a_million(tmp_path: Path) -> None:
    rows = (BROKEN if n == 999_998 else row(n) for n in range(1_000_000))
    with pytest.raises(HarnessError, match="broken JSON line") as caught:
        write_dataset(settings(lines(tmp_path / "rows.jsonl", rows)), 0, tmp_path / "out.jsonl")
    assert caught.value.where == f"{tmp_path}/rows.jsonl:999999"


def test_rows_of_other_types_are_named_counted_and_all_others_kept(tmp_path: Path) -> None:
    odd: dict[int, Any] = {3: None, 50: 4, 60: [], 70: {"a": 1}, 80: "   "}
    rows = [row(n, response=odd.get(n, f"{n}!")) for n in range(100)]
    found = read(lines(tmp_path / "rows.jsonl", [*rows, "a text", 7, None]))
    assert found.counts["rows"] == 103
    skipped = {k: v for k, v in found.counts.items() if k.startswith("skipped")}
    assert found.counts["kept"] + sum(skipped.values()) == 103
    assert found.counts["kept"] >= 95
    assert {skip.row for skip in found.skipped} >= {51, 71, 101, 102, 103}
    assert [c.id for c in found.conversations][:3] == ["0", "1", "2"]


def test_a_row_of_five_megabytes(tmp_path: Path) -> None:
    whole = "word " * 1_000_000
    rows = [row(0), row(1, response=whole), row(2)]
    csv = ["id,prompt,response", *(f"{r['id']},{r['prompt']},{r['response']}" for r in rows)]
    (tmp_path / "rows.csv").write_text("\n".join(csv) + "\n")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    lines(tmp_path / "rows.jsonl", rows)
    for ending in ("jsonl", "csv", "parquet"):
        found = read(tmp_path / f"rows.{ending}").conversations
        assert [c.messages[1]["content"] for c in found] == ["0!", whole, "2!"], ending


@pytest.mark.parametrize(
    ("column", "want"),
    [
        (["1", "2", "x"], ["1", "2", "x"]),
        (["1", "2.5", ""], [1.0, 2.5, None]),
        (["1", "", "NA"], [1, None, None]),
        (["true", "false", ""], [True, False, None]),
        (["a", "", "NA"], ["a", "", "NA"]),
        (["2024-01-01", "2024-01-02", "soon"], ["2024-01-01", "2024-01-02", "soon"]),
    ],
)
def test_a_csv_column_has_the_type_of_all_its_values(tmp_path: Path, column: list[str], want: list[Any]) -> None:
    """Also where the last of very many differs."""
    many = [column[0]] * 300_000
    text = "\n".join(["n,value", *(f"{n},{value}" for n, value in enumerate([*many, *column]))]) + "\n"
    (tmp_path / "rows.csv").write_text(text)
    found = [one["value"] for one in records(tmp_path / "rows.csv")]
    assert found[-3:] == want
    assert {type(value) for value in found[:-3]} == {type(want[0])}


@pytest.mark.parametrize(
    "empty",
    [
        lambda path: path.with_suffix(".jsonl").touch(),
        lambda path: path.with_suffix(".jsonl").write_text("\n\n"),
        lambda path: path.with_suffix(".json").write_text("[]"),
        lambda path: path.with_suffix(".csv").write_text("prompt,response\n"),
        lambda path: pq.write_table(pa.table({"prompt": pa.array([], pa.string())}), path.with_suffix(".parquet")),
    ],
)
def test_a_file_without_rows_is_named(tmp_path: Path, empty: Callable[[Path], Any]) -> None:
    empty(tmp_path / "rows")
    [file] = tmp_path.iterdir()
    with pytest.raises(HarnessError, match="the file holds no rows") as caught:
        read(file)
    assert caught.value.where == str(file)


def test_memory_does_not_grow_with_the_texts(tmp_path: Path) -> None:
    """Python's own objects, of which texts are the most: 60 MB of them are read."""
    import tracemalloc

    rows = (row(n, response=f"{n} " + "many words " * 550) for n in range(10_000))
    file = lines(tmp_path / "rows.jsonl", rows)
    assert file.stat().st_size > 60e6
    tracemalloc.start()
    reading = write_dataset(settings(file, limit=9_000), 0, tmp_path / "out.jsonl")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reading.counts["kept"] == 9_000
    assert peak < 12e6


def test_a_join_finds_its_prompts_on_disk(tmp_path: Path) -> None:
    prompts = [{"key": key, "prompt": f"Say {key!r}."} for key in (1, 2.5, "1", True)][:3]
    lines(tmp_path / "prompts.jsonl", prompts)
    answers = [{"key": key, "response": f"{key!r}!"} for key in (1.0, "1", 2.5, None, [1], "2")]
    lines(tmp_path / "rows.jsonl", answers)
    found = read(tmp_path / "rows.jsonl", prompts={"path": str(tmp_path / "prompts.jsonl"), "on": "key"})
    said = [[message["content"] for message in c.messages] for c in found.conversations]
    assert said == [["Say 1.", "1.0!"], ["Say '1'.", "'1'!"], ["Say 2.5.", "2.5!"]]
    assert found.counts["skipped: no prompt to join"] == 3
