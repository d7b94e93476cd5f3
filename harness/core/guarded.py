"""Commands that end with us, however we end."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_TAIL_LINES = 15


@contextlib.contextmanager
def guarded(
    command: Sequence[str], environment: Mapping[str, str], log: Path, pass_fds: Sequence[int] = ()
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command under a guard; its output goes to `log`. On exit, or on our death, its process group ends.

    `pass_fds` are descriptors that the command gets under the same numbers. The process that is yielded is the guard:
    it ends when the command has, with the command's exit code.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.core.guard_child", "--", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
            start_new_session=True,
            pass_fds=pass_fds,
        )
    assert process.stdin is not None, "opened as a pipe"
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()


def tail(log: Path) -> str:
    """The end of a command's log, as a message shows it."""
    lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    return "The end of its log:\n    " + "\n    ".join(lines)
