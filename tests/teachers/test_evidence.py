import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.core.errors import HarnessError
from harness.teachers.evidence import load, save
from tests.teachers.tables import table

FULL = table(
    {"a": [-0.25, -2.5], "b": [-4.0]},
    ranks=[1, 7, 40_000],
    alone=[-1, -2, -3],
    local=[-1, -2, -4],
    steps=[0, 1, 0],
    unscored={"e": "empty"},
)
PASSES = ("logprobs", "ranks", "alone", "local", "steps")


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save(FULL, tmp_path / "new")
    found = load(tmp_path / "new")
    pd.testing.assert_frame_equal(found.responses, FULL.responses, check_dtype=False)
    for name in PASSES:
        np.testing.assert_array_equal(getattr(found, name), getattr(FULL, name))
        assert getattr(found, name).dtype == getattr(FULL, name).dtype


def test_the_disk_holds_four_bytes_a_number(tmp_path: Path) -> None:
    save(FULL, tmp_path)
    assert {p.name: np.load(p).dtype.itemsize for p in tmp_path.glob("*.npy")} == {f"{n}.npy": 4 for n in PASSES}


def test_passes_that_were_not_asked_for_stay_none(tmp_path: Path) -> None:
    save(table({"a": [-1]}), tmp_path)
    found = load(tmp_path)
    assert [getattr(found, name) is None for name in PASSES] == [False, True, True, True, True]


def test_nothing_scored(tmp_path: Path) -> None:
    save(table({}, unscored={"a": "empty"}), tmp_path)
    assert len(load(tmp_path).logprobs) == 0


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"responses\.parquet: no such file"):
        load(tmp_path)
    save(FULL, tmp_path)
    (tmp_path / "ranks.npy").write_bytes(b"not an array")
    with pytest.raises(HarnessError, match=r"ranks\.npy: not a NumPy array"):
        load(tmp_path)
    (tmp_path / "ranks.npy").unlink()
    (tmp_path / "logprobs.npy").unlink()
    with pytest.raises(HarnessError, match=r"logprobs\.npy: no such file"):
        load(tmp_path)
    (tmp_path / "responses.parquet").write_bytes(b"PAR1")
    with pytest.raises(HarnessError, match="not a Parquet file"):
        load(tmp_path)


def test_an_array_of_another_length_is_refused(tmp_path: Path) -> None:
    save(FULL, tmp_path)
    np.save(tmp_path / "local.npy", np.zeros(2, dtype=np.float32))
    with pytest.raises(HarnessError, match=r"local\.npy: shape \(2,\), but the responses have 3 tokens"):
        load(tmp_path)


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    save(FULL, tmp_path)
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "alone.npy").write_bytes(buffer.getvalue())
    with pytest.raises(HarnessError, match=r"alone\.npy: not a NumPy array"):
        load(tmp_path)


def test_status_and_tokens_must_agree(tmp_path: Path) -> None:
    broken = FULL.responses.assign(status="ok")
    broken.to_parquet(tmp_path / "responses.parquet")
    with pytest.raises(HarnessError, match="scored tokens exactly when"):
        load(tmp_path)
    broken.drop(columns="bytes").to_parquet(tmp_path / "responses.parquet")
    with pytest.raises(HarnessError, match="no column bytes"):
        load(tmp_path)
