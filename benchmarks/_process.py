"""What a piece of work takes in a Python process of its own."""

import os
import subprocess
import sys
import time
from typing import NamedTuple

HARNESS = "from harness.cli import main; main()"
"""The command `harness`, as a Python process runs it."""
SPENT = """
import psutil
def spent():
    every = (p.cpu_times() for p in (psutil.Process(), *psutil.Process().children()))
    return sum(t.user + t.system + t.children_user + t.children_system for t in every)
"""
"""Python code: processor seconds so far of a process, its children and theirs. Workers are the fork server's children,
which nobody waits for at the end of a run, so that `Used.cpu` has them not."""


class Used(NamedTuple):
    """By a process."""

    wall: float
    """Seconds, from before its start to its end."""
    cpu: float
    """Processor seconds, user and system; not of children that outlive it."""
    mb: float
    """Most resident memory, in megabytes; of the process alone."""
    text: str
    """What it printed."""


def measured(code: str, *words: str, quiet: bool = False) -> Used:
    """Run Python code with these arguments. SystemExit where it fails."""
    began = time.perf_counter()
    told = [sys.executable, "-c", code, *words]
    stderr = subprocess.DEVNULL if quiet else None
    with subprocess.Popen(told, stdout=subprocess.PIPE, stderr=stderr, text=True) as process:
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode}: {' '.join(words)}")
    return Used(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6, text)
