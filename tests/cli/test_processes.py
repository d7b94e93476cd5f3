"""`harness run` in a process of its own, as a user starts it: what it imports, and what signals do to it."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from harness.train.processes import CHILD
from tests.cli import recipes
from tests.cli.command import HARNESS, executed, harness, wait_for

ONE_CELL = ("--only", "method=kd,seed=0")


def start(recipe: Path, results: Path, *more: str) -> "subprocess.Popen[str]":
    """A run in a process group of its own, with its messages in a pipe."""
    return subprocess.Popen(
        [*HARNESS, "run", str(recipe), "--results", str(results), *more],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell starts its background jobs deaf to Ctrl-C, and they would hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (one thread)
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of an undisturbed run of one cell."""
    folder = tmp_path_factory.mktemp("whole")
    done = harness("run", recipes.write(folder), "--results", folder / "results", *ONE_CELL)
    assert done.returncode == 0, done.stderr
    return folder / "results"


def test_a_finished_run_starts_no_torch(results: Path, tmp_path: Path) -> None:
    """Run again where `import torch` fails."""
    (tmp_path / "torch.py").write_text("raise ImportError('a finished run has no use for it')")
    words = [*HARNESS, "run", str(results.parent / "tiny.yaml"), "--results", str(results), *ONE_CELL]
    paths = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
    assert executed(done) == 0


def test_stopped_runs_go_on_where_they_were(results: Path, tmp_path: Path) -> None:
    """Ctrl-C as it trains, then kill -9 of all its processes as it answers: the scores are those of a whole run."""
    recipe = recipes.write(tmp_path)
    process = start(recipe, tmp_path, *ONE_CELL)
    wait_for(process, "start kd ")
    os.killpg(process.pid, signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "What is finished is kept; run again to go on." in rest
    process = start(recipe, tmp_path, *ONE_CELL)
    wait_for(process, "start pocket: answers ")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = harness("run", recipe, "--results", tmp_path, *ONE_CELL)
    assert done.returncode == 0, done.stderr
    here, there = (pd.read_parquet(r / "runs/tiny/samples.parquet") for r in (results, tmp_path))
    pd.testing.assert_frame_equal(here, there)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_run_leaves_no_process_of_a_training_in_shares(tmp_path: Path) -> None:
    """kill -9 of the driver alone, while two processes train; the next run goes on."""
    shared = recipes.TINY.replace("max_steps: 3,", "max_steps: 60, save_every: 10,")
    recipe = recipes.write(tmp_path, shared + "resources: {processes: 2, sharding: fsdp}\n")
    process = start(recipe, tmp_path, *ONE_CELL)
    wait_for(process, "start kd ")
    there: list[psutil.Process] = []
    until = time.monotonic() + 120
    while sum(CHILD in words(child) for child in there) < 3 and time.monotonic() < until:  # torchrun and two
        time.sleep(0.1)
        there = psutil.Process(process.pid).children(recursive=True)
    assert sum(CHILD in words(child) for child in there) >= 3
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(there, timeout=30)
    assert alive == []
    done = harness("run", recipe, "--results", tmp_path, *ONE_CELL)
    assert done.returncode == 0, done.stderr


def words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
