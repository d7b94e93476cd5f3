"""Artifacts appear whole or not at all, and two processes never build the same one."""

import errno
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.store.store import Busy, Store, store_fault


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_commit_moves_the_whole_folder_and_drops_the_work(store: Store) -> None:
    (store.work("a1") / "journal.jsonl").write_text("{}\n")
    assert store.has_work("a1")
    out = store.out("a1")
    (out / "sub").mkdir()
    (out / "sub" / "x.txt").write_text("hello")
    assert not store.has("a1")
    store.commit("a1", {"kind": "k"}, {"versions": {}})
    assert store.has("a1")
    assert not store.has_work("a1")
    record = store.record("a1")
    assert record["identity"] == {"kind": "k"}
    assert record["files"] == {"sub/x.txt": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}


def test_a_record_that_came_along_with_an_input_stays_the_inputs(store: Store) -> None:
    """A stage that takes over a whole folder as hard links takes its record too: writing over that would reach both."""
    (store.out("a1") / "x").write_text("x")
    store.commit("a1", {"kind": "first"}, {})
    out = store.out("b2")
    for path in store.path("a1").iterdir():
        os.link(path, out / path.name)
    store.commit("b2", {"kind": "second"}, {})
    assert [store.record(i)["identity"]["kind"] for i in ("a1", "b2")] == ["first", "second"]
    assert store.record("b2")["files"].keys() == {"x"}


def test_a_stopped_try_leaves_work_but_no_output(store: Store) -> None:
    (store.out("a1") / "half").write_text("x")
    (store.work("a1") / "journal.jsonl").write_text("{}\n")
    again = Store(store.root)
    assert not again.has("a1")
    assert list(again.out("a1").iterdir()) == []
    assert (again.work("a1") / "journal.jsonl").exists()


def _hold(root: Path, channel: "Connection[str, str]") -> None:
    with Store(root).lock("a1"):
        channel.send("held")
        signal.pause()


def test_lock_keeps_others_out_and_dies_with_its_owner(store: Store) -> None:
    here, there = multiprocessing.Pipe()
    owner = multiprocessing.get_context("fork").Process(target=_hold, args=(store.root, there))
    owner.start()
    assert here.recv() == "held"
    with pytest.raises(Busy), store.lock("a1"):
        pass
    assert owner.pid is not None
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    with store.lock("a1"):
        pass


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "cannot write to the store"),
        (errno.EIO, "cannot use the store"),
    ],
)
def test_faults_say_what_to_do(number: int, words: str) -> None:
    fault = store_fault(OSError(number, os.strerror(number), "results/x"), Path("results"))
    assert words in str(fault)
    assert "results/x" in str(fault)


def test_store_in_a_place_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot use the store"):
        Store(tmp_path / "file" / "store")
