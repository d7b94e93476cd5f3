"""Rows of any JSON: each is an example or is told, and all are counted."""

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from harness.core.errors import HarnessError
from harness.data.columns import in_words
from harness.data.readers import read_dataset
from harness.data.schemas import COLUMNS, Unusable, read_row, unread
from harness.data.settings import DatasetSettings
from tests.fuzz.profiles import fuzz

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.sampled_from(["user", "[]", "[1]", "a", " ", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["role", "content", "type"]), inner),
    max_leaves=4,
)
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "gpt", "tool"]) | JSON, "content": st.just("q") | JSON},
    optional={"weight": JSON, "train": JSON, "mask": JSON, "name": JSON},
)
VALUE = st.just("q") | JSON | st.lists(TURN, max_size=3)
ROW = JSON | st.dictionaries(st.sampled_from([*sorted(COLUMNS), "id", "x"]), VALUE, max_size=4)


@fuzz(30, 2000, row=ROW, named=st.sets(st.sampled_from(sorted(COLUMNS)), max_size=2), answered=st.booleans())
def test_a_row_is_an_example_or_is_told(row: Any, named: set[str], answered: bool) -> None:
    try:
        example = read_row(row, frozenset(named), answered)
    except Unusable:
        return
    assert any(m["role"] == "user" and m["content"].strip() for m in example.messages)
    assert example.used <= row.keys()
    assert not example.used & set(unread(row, example))


@fuzz(20, 500, rows=st.lists(ROW, min_size=1, max_size=5))
def test_kept_and_skipped_are_all_rows(tmp_path: Path, rows: list[Any]) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [{"prompt": "q"}, *rows]))
    try:
        data = read_dataset(DatasetSettings(path=path), 0)
    except HarnessError as error:  # with a column of responses the first row is none either
        assert "no row can be used" in error.what
        return
    assert data.counts["kept"] + len(data.skipped) == data.counts["rows"] == len(rows) + 1
    assert all(1 <= one.row <= len(rows) + 1 for one in data.skipped)
    assert in_words(data.record) or not data.skipped
