"""Weights go and come back; at every moment the artifact is whole or says what it has not."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from harness.core.canonical import file_digest
from harness.store import eviction
from harness.store.eviction import evict
from harness.store.store import RECORD, Store
from harness.store.upkeep import damages, entries

WEIGHTS = b"w" * 20000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    make(made)
    return made


def make(store: Store, weights: bytes = WEIGHTS, log: str = "first", names: tuple[str, ...] = ("a.st",)) -> None:
    """Build the artifact `a1`: a log and a folder of weights."""
    out = store.out("a1")
    (out / "model").mkdir()
    for name in names:
        (out / "model" / name).write_bytes(weights)
    (out / "log.jsonl").write_text(log)
    store.commit("a1", {"kind": "train"}, {"seconds": 1.0})


def weights(files: Iterable[str]) -> set[str]:
    return {name for name in files if name.startswith("model/")}


def gone(store: Store) -> int | None:
    return evict(store, "a1", weights, lambda names: {"noted": sorted(names)})


def test_the_weights_go_and_the_rest_stays(store: Store) -> None:
    was = store.record("a1")
    assert store.whole("a1")
    assert (gone(store) or 0) >= len(WEIGHTS)
    assert store.has("a1")
    assert not store.whole("a1")
    assert sorted(p.name for p in store.path("a1").iterdir()) == [RECORD, "log.jsonl"]
    record = store.record("a1")
    assert record["evicted"] == {"model/a.st": was["files"]["model/a.st"]}
    assert record["files"] == {"log.jsonl": was["files"]["log.jsonl"]}
    assert (record["noted"], record["identity"], record["provenance"]) == (
        ["model/a.st"],
        was["identity"],
        was["provenance"],
    )
    assert not list(store.partial.iterdir())
    assert gone(store) is None, "there is nothing left to go"


def test_what_was_evicted_is_no_damage_and_all_else_is(store: Store) -> None:
    gone(store)
    assert not list(damages(store, ["a1"]))
    (store.path("a1") / "more").write_text("")
    assert [d.what for d in damages(store, ["a1"])] == ["not stored with it: more"]
    (store.path("a1") / "more").unlink()
    (store.path("a1") / "log.jsonl").write_text("other")
    assert [d.what for d in damages(store, ["a1"])] == ["changed: log.jsonl"]


def test_a_file_with_another_name_frees_nothing(store: Store, tmp_path: Path) -> None:
    os.link(store.path("a1") / "model/a.st", tmp_path / "other")
    assert gone(store) == 0
    assert (tmp_path / "other").read_bytes() == WEIGHTS


def test_an_artifact_that_is_being_made_is_left_alone(store: Store) -> None:
    with store.lock("a1"):
        assert gone(store) is None
    assert store.whole("a1")


def test_who_wants_them_at_the_last_moment_is_heard(store: Store) -> None:
    """A run may write its plan between our look at the plans and the record."""
    was, asked = store.record("a1"), []

    def choose(files: Iterable[str]) -> set[str]:
        asked.append(store.whole("a1"))
        return weights(files) if len(asked) == 1 else set()

    assert evict(store, "a1", choose, lambda _: {}) is None
    assert asked == [True, False], "the second look comes when the record says already that they are gone"
    assert store.record("a1") == was
    assert not list(damages(store, ["a1"]))


def test_a_kill_before_the_record_leaves_it_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        gone(store)
    monkeypatch.undo()
    assert store.whole("a1")
    assert not list(damages(store, ["a1"]))
    assert (gone(store) or 0) >= len(WEIGHTS)


def test_a_kill_after_the_record_leaves_files_that_nobody_counts_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(eviction, "_remove", killed)
    with pytest.raises(KeyboardInterrupt):
        gone(store)
    monkeypatch.undo()
    assert (store.path("a1") / "model/a.st").exists()
    assert not store.whole("a1")
    assert not list(damages(store, ["a1"]))
    assert (gone(store) or 0) >= len(WEIGHTS), "the next eviction removes them"
    assert not (store.path("a1") / "model").exists()


def test_what_is_made_again_is_put_back(store: Store) -> None:
    was = store.record("a1")
    gone(store)
    make(store, log="second")
    assert store.whole("a1")
    record = store.record("a1")
    assert record["files"] == was["files"]
    assert (store.path("a1") / "log.jsonl").read_text() == "first", "scores stand on the first making"
    assert [again["changed"] for again in record["rebuilt"]] == [[]]
    assert not list(damages(store, ["a1"]))
    assert not list(store.partial.iterdir())
    assert [e.stage for e in entries(store)] == ["a1"]


def test_what_is_not_what_it_was_is_said(store: Store) -> None:
    gone(store)
    make(store, weights=b"x" * 9)
    record = store.record("a1")
    assert record["rebuilt"][0]["changed"] == ["model/a.st"]
    assert record["files"]["model/a.st"] == file_digest(store.path("a1") / "model/a.st")
    assert not list(damages(store, ["a1"]))
    gone(store)
    make(store, weights=b"x" * 9, names=("a.st", "b.st"))
    assert [again["changed"] for again in store.record("a1")["rebuilt"]] == [["model/a.st"], ["model/b.st"]]
    assert store.whole("a1")
    assert not list(damages(store, ["a1"]))


@pytest.mark.parametrize("survived", range(3))
def test_a_kill_while_it_is_put_back_leaves_it_evicted(
    store: Store, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    names = ("a.st", "b.st")
    gone(store)
    make(store, names=names)
    gone(store)
    real, count = os.replace, iter(range(10))

    def killed(old: Path, new: Path) -> None:
        if next(count) == survived:
            raise KeyboardInterrupt
        real(old, new)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        make(store, names=names)
    monkeypatch.undo()
    assert store.has("a1")
    assert not store.whole("a1")
    assert not list(damages(store, ["a1"]))
    make(store, names=names)
    assert store.whole("a1")
    assert not list(damages(store, ["a1"]))
    assert not list(store.partial.iterdir())
