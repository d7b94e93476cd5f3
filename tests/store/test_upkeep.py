"""What a store holds, damage found by digest, and what no run needs."""

import os
from pathlib import Path

import pytest

from harness.store.store import RECORD, Store
from harness.store.upkeep import Damage, damages, discard, entries, unneeded


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    for stage, kind in (("a1", "train"), ("b2", "score")):
        out = made.out(stage)
        (out / "sub").mkdir()
        (out / "sub/weights.bin").write_bytes(os.urandom(5000))
        made.commit(stage, {"kind": kind}, {"title": f"{kind} of {stage}"})
    return made


def test_a_whole_store_has_no_damage(store: Store) -> None:
    assert not list(damages(store, ["a1", "b2"]))


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (lambda f: f.write_bytes(f.read_bytes()[:-1]), "changed: sub/weights.bin"),
        (lambda f: f.write_bytes(bytes([f.read_bytes()[0] ^ 1]) + f.read_bytes()[1:]), "changed: sub/weights.bin"),
        (lambda f: f.unlink(), "missing: sub/weights.bin"),
        (lambda f: (f.parent / "more").write_text(""), "not stored with it: sub/more"),
        (
            lambda f: (f.parents[1] / RECORD).write_text("{"),
            "its record cannot be read (broken JSON (Expecting property name enclosed in double quotes at column 2))",
        ),
        (lambda f: (f.parents[1] / RECORD).write_text("{}"), "its record cannot be read (not an artifact's record)"),
    ],
)
def test_damage_is_found_and_removed(store: Store, harm: object, what: str) -> None:
    assert callable(harm)
    harm(store.path("a1") / "sub/weights.bin")
    known = ("unknown", "") if "its record" in what else ("train", "train of a1")
    assert list(damages(store, ["a1", "b2"])) == [Damage("a1", *known, what)]
    assert discard(store, "a1")
    assert not store.has("a1")
    assert store.has("b2")
    assert not list(store.partial.iterdir())


def test_files_with_several_names_are_counted_once(store: Store) -> None:
    out = store.out("c3")
    os.link(store.path("a1") / "sub/weights.bin", out / "same.bin")
    store.commit("c3", {"kind": "select"}, {})
    sizes = {e.stage: e.bytes for e in entries(store)}
    assert sizes["a1"] >= 5000
    assert sizes["c3"] < 5000 + 8192
    alone = sum(e.bytes for e in entries(store))
    assert alone == sum({p.stat().st_ino: p.stat().st_blocks * 512 for p in store.artifacts.glob("*/**/*")}.values())


def test_what_no_run_needs_and_what_was_left_half_done(store: Store) -> None:
    (store.work("d4") / "checkpoint").write_bytes(b"x" * 9000)
    found = list(unneeded(store, {"b2"}))
    assert [(e.stage, e.kind) for e in found] == [("a1", "train"), ("d4", "partial")]
    assert found[1].bytes >= 9000
    assert all(discard(store, e.stage) for e in found)
    assert [e.stage for e in entries(store)] == ["b2"]


def test_what_is_being_made_stays(store: Store) -> None:
    (store.work("d4") / "checkpoint").write_bytes(b"x")
    with store.lock("d4"):
        assert not discard(store, "d4")
    assert store.has_work("d4")
    assert discard(store, "d4")
