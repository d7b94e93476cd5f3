"""The command line, called in this process: it prints what a process of its own would, and starts in no time.

A run's workers are forked from a server that imports PyTorch once per driver; runs that are called here share it. Their
figures are written as SVG alone: tests of the report see to the other formats. Tests of what only a process can show
(signals, kills, what is imported) start one with `HARNESS`.
"""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from harness.cli import main
from harness.report import style

HARNESS = [sys.executable, "-c", "from harness.cli import main; main()"]
"""The words that start the command in a process of its own."""


def harness(
    *words: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Call `harness WORDS`, with more variables in its environment and from another folder where these are given."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "argv", ["harness", *map(str, words)]))
        stack.enter_context(mock.patch.dict(os.environ, env or {}))
        stack.enter_context(mock.patch.object(style, "_PAPER", {}))
        stack.enter_context(contextlib.chdir(cwd or Path.cwd()))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return subprocess.CompletedProcess([*map(str, words)], code, out.getvalue(), err.getvalue())


def executed(done: "subprocess.CompletedProcess[str]") -> int:
    """How many stages a run says that it executed."""
    line = next(line for line in done.stderr.splitlines() if line.startswith("executed "))
    return int(line.split()[1])


def wait_for(process: "subprocess.Popen[str]", beginning: str) -> None:
    """Read the run's messages until one begins so."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith(beginning):
            return
    raise AssertionError(f"no message begins with {beginning!r}: {said}")
