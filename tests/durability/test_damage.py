"""What a dead process or a bad disk leaves in a results folder, and a folder whose name is awkward."""

import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from harness.core.errors import HarnessError
from harness.core.lines import Journal
from harness.record.stages import named_stages, stage_ids
from harness.stages import answer
from harness.store.ledger import Ledger
from harness.store.store import Store
from tests.cli.command import executed, harness
from tests.durability.conftest import ONE
from tests.store.test_ledger import REPLY, keep


def test_a_folder_with_an_awkward_name(finished: Path) -> None:
    """Every stage, the ledger and the page are where they were to be."""
    stages = stage_ids(finished / "runs/tiny")
    store = Store(finished / "store")
    assert all(store.has(stage) for stage in stages)
    with Ledger(store.ledger) as ledger:
        assert {stage for stage, _, _ in ledger.stage_seconds(latest=1000)} == set(stages)
        assert not ledger.failures()
    assert len(pd.read_csv(finished / "runs/tiny/scores.csv"))
    assert (finished / "runs/tiny/report.html").exists()
    assert {path.name for path in finished.iterdir()} == {"runs", "store"}


def chain(results: Path) -> list[str]:
    """Of the cell that was trained: its score, its verdicts, its answers."""
    kinds = ("score", "judge", "answer")
    stages = named_stages(results / "runs/tiny")
    of_cell = [(stage, kind) for stage, kind, title in stages if kind in kinds and "method=kd" in title]
    return [stage for stage, _ in sorted(of_cell, key=lambda row: kinds.index(row[1]))]


def test_a_lock_of_a_killed_process_is_free(results: Path) -> None:
    """The lock file stays; the system has taken the lock back from the dead."""
    stage, *_ = chain(results)
    shutil.rmtree(results / "store/artifacts" / stage)
    program = f"""
import signal
from pathlib import Path
from harness.store.store import Store
with Store(Path({str(results / "store")!r})).lock({stage!r}):
    print("held", flush=True)
    signal.pause()
"""
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    store = Store(results / "store")
    assert store.building(stage)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert (store.root / "locks" / f"{stage}.lock").exists()
    assert not store.building(stage)
    done = harness(*ONE, "--results", results)
    assert done.returncode == 0, done.stderr
    assert executed(done) == 1


def test_what_a_stopped_stage_left_is_checked(results: Path) -> None:
    """A journal whose second line has a flipped bit, scrap in the output, a folder of nobody's: the same samples."""
    samples = results / "runs/tiny/samples.csv"
    before = samples.read_bytes()
    store, stages = Store(results / "store"), chain(results)
    answers = stages[-1]
    write_journal(store, answers)
    for stage in stages:
        shutil.rmtree(store.path(stage))
    (store.out(answers) / "scrap").write_bytes(b"\0" * 100)
    (store.partial / "nobody" / "work").mkdir(parents=True)
    done = harness(*ONE, "--results", results)
    assert done.returncode == 0, done.stderr
    assert samples.read_bytes() == before
    assert [path.name for path in store.path(answers).glob("scrap")] == []


def write_journal(store: Store, answers: str) -> None:
    """As a kill after three answers leaves it, but that the second says something else."""
    path = store.work(answers) / "turns.jsonl"
    with Journal(path) as journal:
        for given in answer.read(store.path(answers))[:3]:
            said = {"text": given.turns[0], "finish": given.finish[0], "tokens": given.tokens[0]}
            journal.append({"id": given.id, "turn": 1, **said})
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second.replace(b'"text": "', b'"text": "other ') + third)


def halved(content: bytearray) -> None:
    del content[len(content) // 2 :]


def beheaded(content: bytearray) -> None:
    content[:16] = bytes(16)


@pytest.mark.parametrize("harm", [halved, beheaded])
def test_a_damaged_ledger_is_told(results: Path, harm: Callable[[bytearray], None]) -> None:
    path = results / "store/ledger.sqlite"
    content = bytearray(path.read_bytes())
    harm(content)
    path.write_bytes(content)
    done = harness("status", "tiny", "--results", results)
    assert done.returncode == 1
    assert f"{path}: the ledger cannot be used" in done.stderr
    assert "Keep a copy, then see `sqlite3 FILE .recover`" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_harm_to_a_ledger_is_more_than_a_fault(tmp_path: Path) -> None:
    """Flipped bits and cut ends: each call answers or says that the ledger cannot be used."""
    good = tmp_path / "good.sqlite"
    with Ledger(good) as ledger:
        for number in range(40):
            keep(ledger, REPLY, ("judge", str(number), 0))
            ledger.stage_ended(ledger.stage_started(str(number), "run"), "built")
    chance = random.Random(4)
    told = [what for number in range(150) if (what := use(harmed(good, chance, cut=number % 3 == 0)))]
    assert len(told) > 20
    assert all("harmed.sqlite" in what for what in told)


def harmed(good: Path, chance: random.Random, *, cut: bool) -> Path:
    """A copy with eight flipped bits."""
    content = bytearray(good.read_bytes())
    for _ in range(8):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    if cut:
        del content[chance.randrange(len(content)) :]
    path = good.with_name("harmed.sqlite")
    for old in path.parent.glob("harmed.sqlite*"):
        old.unlink()
    path.write_bytes(content)
    return path


def use(path: Path) -> str:
    """What was wrong with the ledger, if anything."""
    try:
        with Ledger(path) as ledger:
            ledger.recorded("judge", [(str(k), 0) for k in range(40)])
            ledger.costs()
            ledger.interrupted()
            ledger.failures()
            keep(ledger)
    except HarnessError as error:
        return str(error)
    return ""
