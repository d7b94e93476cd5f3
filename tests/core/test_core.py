"""Canonical JSON, seeds, settings' identity, journals."""

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from harness.core.canonical import canonical, digest, file_digest
from harness.core.errors import HarnessError
from harness.core.lines import Journal, read_lines
from harness.core.seeds import derive_seed
from harness.core.settings import Settings, execution, identity

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_canonical_ignores_key_order_and_reads_back(value: dict[str, object]) -> None:
    backwards = dict(reversed(value.items()))
    assert canonical(value) == canonical(backwards)
    assert json.loads(canonical(value)) == value


def test_digest_is_pinned() -> None:
    """A change of these bytes would orphan every store there is."""
    assert canonical({"b": [1, 2.5, None], "a": "é"}) == '{"a":"é","b":[1,2.5,null]}'.encode()
    assert digest({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


def test_canonical_refuses_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(float("nan"))


def test_derived_seeds_differ_by_every_part() -> None:
    seeds = {derive_seed(seed, item, turn) for seed in range(10) for item in "ab" for turn in (1, 2)}
    assert len(seeds) == 40
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_files_digest_is_its_sha_256(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("2")
    assert file_digest(tmp_path / "b") == "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"


class Inner(Settings):
    """Settings in settings."""

    deep: int = 1
    workers: int = execution(4)


class Outer(Settings):
    """Settings."""

    inner: Inner = Inner()
    many: list[Inner] = Field(default_factory=list)
    path: Path = execution(Path("x"))


def test_identity_leaves_execution_out_at_every_depth() -> None:
    settings = Outer.model_validate_json('{"inner": {"workers": 9}, "many": [{"deep": 2}], "path": "y"}')
    assert identity(settings) == {"inner": {"deep": 1}, "many": [{"deep": 2}]}


def test_errors_travel_between_processes() -> None:
    error = HarnessError("broken", where="a.jsonl:3", fix="Mend it.")
    assert str(pickle.loads(pickle.dumps(error))) == "a.jsonl:3: broken\n  Mend it."


def test_journal_cuts_a_torn_line_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.append({"n": 1}, {"n": 2})
    with path.open("ab") as file:
        file.write(b'{"n": 3, "text": "half')
    with Journal(path) as journal:
        assert journal.records == [{"n": 1}, {"n": 2}]
        journal.append({"n": 3})
    with Journal(path) as journal:
        assert [r["n"] for r in journal.records] == [1, 2, 3]


@given(st.lists(st.text(), min_size=1), st.data())
def test_journal_drops_what_is_not_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], data: st.DataObject
) -> None:
    """One bit of the file is flipped: what lies before that line is kept, it and what follows is made again."""
    path = tmp_path_factory.mktemp("j") / "j.jsonl"
    with Journal(path) as journal:
        journal.append(*({"text": text} for text in texts))
    whole = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    before = bytes(whole[:place]).count(b"\n")
    path.write_bytes(whole)
    with Journal(path) as journal:
        kept = [record["text"] for record in journal.records]
        assert kept in (texts[:before], texts)  # a flipped bit may only be another way to write the same
        journal.append({"text": "more"})
    with Journal(path) as journal:
        assert [record["text"] for record in journal.records] == [*kept, "more"]


@given(st.lists(st.text()), st.data())
def test_journal_survives_a_cut_anywhere(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("j") / "j.jsonl"
    with Journal(path) as journal:
        for text in texts:
            journal.append({"text": text})
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    with Journal(path) as journal:
        assert [r["text"] for r in journal.records] == texts[: whole[:cut].count(b"\n")]


def test_read_lines_names_the_broken_line(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(HarnessError, match=r"q\.jsonl:2: broken JSON line"):
        list(read_lines(path))
    with pytest.raises(HarnessError, match="no such file"):
        list(read_lines(tmp_path / "none"))
