"""Tables on stdout: what is missing is null, nothing is rounded in csv and json, nothing is read as markup."""

import json

import numpy as np
import pandas as pd
import pytest

from harness.cli.output import emit

FRAME = pd.DataFrame(
    {
        "name": ["a[red]b", "c"],
        "value": pd.array([1 / 3, None], dtype="Float64"),
        "n": np.array([1, 2], dtype="int64"),
        "odd": [np.float64(0.1), np.nan],
    }
)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    emit(FRAME, "json")
    assert json.loads(capsys.readouterr().out) == [
        {"name": "a[red]b", "value": 1 / 3, "n": 1, "odd": 0.1},
        {"name": "c", "value": None, "n": 2, "odd": None},
    ]


def test_csv(capsys: pytest.CaptureFixture[str]) -> None:
    emit(FRAME, "csv")
    assert capsys.readouterr().out == f"name,value,n,odd\na[red]b,{1 / 3},1,0.1\nc,,2,\n"


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    emit(FRAME, "table")
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == ["name", "value", "n", "odd"]
    assert lines[-2:] == [["a[red]b", "0.333", "1", "0.100"], ["c", "-", "2", "-"]]


def test_an_empty_table_is_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    emit(FRAME.iloc[:0], "json")
    assert json.loads(capsys.readouterr().out) == []
