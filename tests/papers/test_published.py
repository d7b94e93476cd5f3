import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from harness.core.errors import HarnessError
from harness.papers import published

FACTS = Path(__file__).parents[2] / "../shared/facts"


@pytest.mark.parametrize("name", published.TABLES)
def test_tables_are_whole(name: str) -> None:
    frame = published.table(name)
    assert len(frame) > 0
    assert published.TABLES[name].source.startswith("arXiv ")
    assert not frame.duplicated().any()
    numbers = frame.select_dtypes("number")
    assert numbers.shape[1] > 0 or name == "stronger_teachers_table1"
    assert (numbers.abs() <= 100).all(axis=None) or numbers.isna().any(axis=None)


@pytest.mark.skipif(not FACTS.is_dir(), reason="no ../shared/facts beside the project")
@pytest.mark.parametrize("name", published.TABLES)
def test_tables_are_those_that_were_transcribed(name: str) -> None:
    own = Path(published.__file__).parent / "data" / f"{name}.csv"
    assert own.read_bytes() == (FACTS / f"{name}.csv").read_bytes()


def test_no_table_is_left_out() -> None:
    assert {p.stem for p in (Path(published.__file__).parent / "data").iterdir()} == set(published.TABLES)
    with pytest.raises(HarnessError, match="no published table 'table9'"):
        published.table("table9")


def test_generators_have_one_name_in_both_tables() -> None:
    outcomes, meta = published.stronger_teachers_outcomes(), published.stronger_teachers_meta()
    assert set(meta["teacher"]) - set(outcomes["teacher"]) == {"GPT-4 & GPT-4 Turbo"}
    assert set(outcomes["teacher"]) <= set(meta["teacher"])
    assert outcomes.groupby("student").size().tolist() == [19] * 5
    assert outcomes.groupby("student")["value"].nunique().tolist() == [19] * 5  # no ties
    assert meta.set_index("teacher")["size_b"]["Llama-3.1-405B"] == 405
    assert meta["size_b"].isna().sum() == 1


def test_rsr_families_are_read_off_the_names() -> None:
    meta = published.rsr_meta().set_index("teacher")
    assert (
        meta["family"].value_counts().to_dict() | {"Qwen3": 4, "GPT-OSS": 2} == meta["family"].value_counts().to_dict()
    )
    assert meta["size_b"]["DeepSeek-R1"] == 671
    frame = published.rsr_outcomes()
    assert len(frame) == 55
    picked: pd.Series = frame.set_index(["student", "teacher"])["value"]
    assert picked["Qwen2.5-7B", "DeepSeek-R1"] == 47.3


def test_importing_the_room_imports_no_torch() -> None:
    code = "import sys, harness.papers.validate; print('torch' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"], done.stderr
