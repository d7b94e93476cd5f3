"""Work for several processes: in order, few items under way, and an end with the process that asked."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.core.pool import cores, mapped

STARTED: list[str] = []


def started(word: str) -> None:
    STARTED.append(word)


def doubled(number: int) -> tuple[int, str, int]:
    return 2 * number, STARTED[-1], os.getpid()


def failing(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


@pytest.mark.parametrize("processes", [1, 2])
def test_results_are_in_order_and_no_more_is_read_than_needed(processes: int) -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    results = mapped(doubled, items(), processes, started, ("go",))
    first = next(results)
    assert len(taken) <= 2 * processes + 1
    rest = list(results)
    assert [value for value, _, _ in [first, *rest]] == [2 * n for n in range(20)]
    assert {word for _, word, _ in rest} == {"go"}
    assert (os.getpid() in {pid for _, _, pid in rest}) == (processes == 1)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_failure_is_told(processes: int) -> None:
    with pytest.raises(ValueError, match="three"):
        list(mapped(failing, range(9), processes, started, ("go",)))


def test_cores_are_those_that_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert cores() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "100000")
    assert cores() == len(os.sched_getaffinity(0))


def slow(number: int) -> int:
    time.sleep(60)
    return number


SCRIPT = (
    "from tests.core.test_pool import *\nprint('up', flush=True)\nlist(mapped(slow, range(4), 2, started, ('go',)))"
)


def test_processes_end_with_the_one_that_asked(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    children: list[psutil.Process] = []
    while len([c for c in children if "spawn_main" in " ".join(c.cmdline())]) < 2:
        time.sleep(0.1)
        children = psutil.Process(parent.pid).children(recursive=True)
    time.sleep(2)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []
