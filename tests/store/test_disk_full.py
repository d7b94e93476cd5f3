"""A disk that is really full: a small file system in memory, where this machine lets us mount one."""

import errno
import gc
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.record.stages import stage_ids
from harness.stages.api import Context, Kind, Session, Stage
from harness.stages.registry import KINDS
from harness.stages.runner import read_order, run_stage, write_orders
from harness.store.ledger import Ledger
from harness.store.store import Store
from tests.cli import recipes
from tests.cli.command import harness

SIZE_KB = 3072
FULL = "the disk is full"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_KB}k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    except OSError as error:
        pytest.skip(f"cannot mount a small file system: {error}")
    if done.returncode:
        pytest.skip(f"may not mount a small file system: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=30)


def leave(disk: Path, kilobytes: int) -> Path:
    """Fill the disk but for so much; the file that does it."""
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * 1024 * (SIZE_KB - kilobytes))
    return ballast


def by_writing(folder: Path) -> None:
    (folder / "bulk").write_bytes(b"x" * 2**22)


def by_torch(folder: Path) -> None:
    import torch

    torch.save(torch.zeros(2**20), folder / "bulk")


def by_safetensors(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(2**20)}, folder / "bulk")


@pytest.mark.parametrize("fill", [by_writing, by_torch, by_safetensors])
@pytest.mark.parametrize("where", ["out", "work"])
def test_a_stage_that_fills_the_disk(
    disk: Path, monkeypatch: pytest.MonkeyPatch, fill: Callable[[Path], None], where: str
) -> None:
    """Whoever writes the file, it is one message; what the work folder holds is kept, and the stage goes on from it."""
    tries: list[bool] = []

    def run(ctx: Context) -> None:
        journal = ctx.work / "journal"
        tries.append(journal.exists())
        if tries[-1]:
            (ctx.out / "small").write_text(journal.read_text())
            return
        journal.write_text("kept")
        fill(ctx.out if where == "out" else ctx.work)

    monkeypatch.setitem(KINDS, "filler", Kind("filler", 1, run))
    store, stage = Store(disk / "store"), Stage("filler", 1, {})
    write_orders(store, [stage])
    order = read_order(store, stage.id)
    with pytest.raises(HarnessError, match=FULL) as caught:
        run_stage(store, order, Session(), lambda *_, **__: None)
    assert str(disk) in caught.value.where
    assert "run again" in caught.value.fix
    assert not store.has(stage.id)
    del caught  # its traceback holds torch's file open, and an open file holds its room
    gc.collect()
    for bulk in disk.rglob("bulk"):
        bulk.unlink()
    assert run_stage(store, order, Session(), lambda *_, **__: None)
    assert tries == [False, True]
    assert (store.path(stage.id) / "small").read_text() == "kept"


def test_a_defect_is_no_full_disk(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(ctx: Context) -> None:
        raise RuntimeError("ours")

    monkeypatch.setitem(KINDS, "broken", Kind("broken", 1, run))
    store, stage = Store(disk / "store"), Stage("broken", 1, {})
    write_orders(store, [stage])
    with pytest.raises(RuntimeError, match="ours"):
        run_stage(store, read_order(store, stage.id), Session(), lambda *_, **__: None)


def test_a_store_and_a_ledger_on_a_full_disk(disk: Path) -> None:
    (disk / "ballast").write_bytes(b"")
    with pytest.raises(OSError, match="No space") as caught:
        (disk / "ballast").write_bytes(b"x" * 1024 * (SIZE_KB + 1))
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(HarnessError, match=FULL):
        Ledger(disk / "ledger.sqlite")


@pytest.mark.parametrize("kilobytes", [60, 250, 500])
def test_a_run_on_a_full_disk_goes_on_when_there_is_room(disk: Path, tmp_path: Path, kilobytes: int) -> None:
    """It fills up with the ledger, in the middle, or with the report; nothing finished is done again."""
    recipe = recipes.write(tmp_path)
    words = ["run", recipe, "--results", disk, "--only", "method=sft,seed=0"]
    ballast = leave(disk, kilobytes)
    done = harness(*words)
    assert done.returncode == 1, done.stderr
    assert FULL in done.stderr
    assert "Free some space and run again" in done.stderr
    assert "Traceback" not in done.stderr
    finished = len(list((disk / "store/artifacts").iterdir()))
    ballast.unlink()
    done = harness(*words)
    assert done.returncode == 0, done.stderr
    total = len(stage_ids(disk / "runs/tiny"))
    assert f"executed {total - finished} of {total} stages" in done.stderr
    run = json.loads((disk / "runs/tiny/run.json").read_text())
    assert [cell["failed"] for cell in run["cells"]] == [None]
    assert (disk / "runs/tiny/report.html").read_text().rstrip().endswith("</html>")
