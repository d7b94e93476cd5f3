"""Data as they are found: every row is used, counted as skipped by reason, or told by its place."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.core.errors import HarnessError
from harness.data.conversations import read_conversations
from harness.data.readers import Dataset, Skipped, read_dataset
from harness.data.settings import DatasetSettings

TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
SHAREGPT = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
MIXED: list[dict[str, Any]] = [
    {"messages": TURNS},
    {"conversations": SHAREGPT},
    {"instruction": "q", "output": "a"},
    {"prompt": "q", "response": "a"},
    {"text": "of no schema"},
]


def read(folder: Path, rows: list[Any], suffix: str = ".jsonl") -> Dataset:
    path = folder / f"data{suffix}"
    if suffix == ".parquet":
        columns = {name: None for row in rows for name in row}
        pq.write_table(pa.Table.from_pylist([columns | row for row in rows]), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_dataset(DatasetSettings(path=path), 0)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("turn", [1, -1])
def test_rows_of_several_schemas_in_one_file(tmp_path: Path, suffix: str, turn: int) -> None:
    """In any order; in Parquet a row has nulls in the columns of the other schemas."""
    data = read(tmp_path, MIXED[::turn], suffix)
    assert [c.messages for c in data.conversations] == [TURNS] * 4
    assert data.counts == {"rows": 5, "matched": 5, "kept": 4, "skipped: no user message": 1}


def test_a_response_column_that_comes_late_is_read(tmp_path: Path) -> None:
    """Columns are looked up in the first rows; a response further down is not dropped for that."""
    data = read(tmp_path, [{"prompt": "q"}] * 1200 + [{"prompt": "q", "response": "a"}])
    assert data.conversations[-1].messages == TURNS
    assert data.conversations[0].messages == TURNS[:1]


@pytest.mark.parametrize("role", ["tool", "function", "function_call", "observation", "ipython"])
@pytest.mark.parametrize("keys", [("messages", "role", "content"), ("conversations", "from", "value")])
def test_conversations_with_tools_are_counted(tmp_path: Path, role: str, keys: tuple[str, str, str]) -> None:
    column, who, what = keys
    said = [("user", "q"), ("assistant", "a"), (role, "42"), ("assistant", "it is 42")]
    data = read(tmp_path, [{column: [{who: w, what: t} for w, t in said]}, {column: [{who: "user", what: "q"}]}])
    assert data.counts["skipped: tool message"] == 1
    assert data.skipped == (Skipped("0", 1, "tool message"),)
    assert len(data.conversations) == 1


def test_a_call_of_a_tool_without_text_is_an_empty_response(tmp_path: Path) -> None:
    turns = [TURNS[0], {"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]}]
    data = read(tmp_path, [{"messages": turns}, {"messages": TURNS}])
    assert data.counts["skipped: empty response"] == 1


STRANGE: list[tuple[Any, str]] = [
    ({"conversations": [SHAREGPT[0], {"from": "robot", "value": "a"}]}, "unknown role 'robot'"),
    ({"messages": [{"content": "q"}]}, "a turn without a role"),
    ({"messages": [{"role": ["user"], "content": "q"}]}, "unknown role \"['user']\""),
    ({"messages": [{"role": "user"}]}, "a turn without content"),
    ({"messages": [{"role": "user", "content": {"text": "q"}}]}, "a turn with a part of type 'None'"),
    ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "a turn with a part of type 'image'"),
    ({"messages": [{"role": "user", "content": 3}]}, "the content of a turn is a number, not text"),
    ({"messages": [TURNS[0], "a"]}, "a turn is text, not an object"),
    ({"messages": 3}, "`messages` is a number, not a list of turns"),
    ({"messages": "once upon a time"}, "`messages` is text, not a list of turns"),
    ({"messages": "[1"}, "`messages` is text, not a list of turns"),
    ({"messages": {"role": "user"}}, "`messages` is an object, not a list of turns"),
    ({"messages": [TURNS[0], {**TURNS[1], "weight": 0.5}]}, "a turn's `weight` is 0.5, neither 0 nor 1"),
    ({"messages": [TURNS[0], {**TURNS[1], "train": "no"}]}, 'a turn\'s `train` is "no", neither 0 nor 1'),
    ({"messages": [TURNS[0], {**TURNS[1], "weight": 0}]}, "every response has weight 0"),
    ({"messages": [{"role": "system", "content": "s"}]}, "no user message"),
    ({"messages": []}, "no user message"),
    ({"prompt": 3, "response": "a"}, "`prompt` is a number, not text"),
    ({"prompt": "q", "response": ["a", "b"]}, "`response` is a list, not text"),
    ({"prompt": "q", "response": True}, "`response` is true or false, not text"),
    ({"prompt": "q", "response": " "}, "empty response"),
    ({"prompt": "q", "response": "a", "system": {"x": 1}}, "`system` is an object, not text"),
    ({"prompt": "q", "response": "a", "context": ["x"]}, "`context` is a list, not text"),
    ({"prompt": "q", "response": "a", "history": "before"}, "`history` is not a list of pairs of question and answer"),
    ({"prompt": "q", "response": "a", "history": [["b"]]}, "`history` is not a list of pairs of question and answer"),
    ({"prompt": "q", "response": "a", "history": [["b", None]]}, "an answer of `history` is null, not text"),
    ([], "a list, not an object with named columns"),
    (None, "null, not an object with named columns"),
]


@pytest.mark.parametrize(("row", "reason"), STRANGE)
def test_a_strange_row_is_counted_with_its_number(tmp_path: Path, row: Any, reason: str) -> None:
    good = {"messages": TURNS, "response": None}
    data = read(tmp_path, [good, row, good])
    assert data.skipped == (Skipped("1", 2, reason),)
    assert data.counts == {"rows": 3, "matched": 3, "kept": 2, f"skipped: {reason}": 1}
    assert data.record["skipped_rows"] == {reason: [2]}


def test_a_file_of_strange_rows_says_why(tmp_path: Path) -> None:
    with pytest.raises(HarnessError) as caught:
        read(tmp_path, [{"messages": 3}] * 9 + [{"messages": [{"role": "robot", "content": ""}]}])
    assert caught.value.what == (
        "no row can be used: 10 of 10 rows skipped: `messages` is a number, not a list of turns "
        "(rows 1, 2, 3, 4, 5 and 4 more); unknown role 'robot' (row 10)"
    )
    assert caught.value.where == str(tmp_path / "data.jsonl")


def test_a_file_of_no_rows_or_of_no_usable_column(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="the file holds no rows"):
        read(tmp_path, [])
    with pytest.raises(HarnessError, match="no known schema") as caught:
        read(tmp_path, [{"text": "a", "label": 1}])
    assert "Columns: label, text." in caught.value.fix


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "x"}',
        '{"messages": []}',
        '{"id": "x", "messages": "hello"}',
        '{"id": "x", "messages": [{"role": "tool", "content": "42"}]}',
        '{"id": "x", "messages": [{"role": "user", "content": null}]}',
        '{"id": "x", "messages": [{"from": "human", "value": "q"}]}',
        '{"prompt": "q", "response": "a"}',
        "[]",
    ],
)
def test_a_line_that_is_not_canonical_is_told(tmp_path: Path, line: str) -> None:
    path = tmp_path / "conversations.jsonl"
    path.write_text(json.dumps({"id": "a", "messages": TURNS}) + "\n\n" + line + "\n")
    with pytest.raises(HarnessError, match="not a conversation in the harness's own form") as caught:
        list(read_conversations(path))
    assert caught.value.where == f"{path}:3"
