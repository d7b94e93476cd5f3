"""`python -m harness.core.guard_child -- COMMAND...`: run a command that must not outlive its owner.

The owner holds the write end of our standard input. When it closes (the owner ended, crashed, or was killed with -9)
the command's whole process group is ended. The exit code is the command's. Descriptors that the owner passes on to us
are passed on to the command.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

_PATIENCE_S = 10.0


def main(words: list[str]) -> int:
    """Run the command after `--` until it ends or our standard input does."""
    command = words[words.index("--") + 1 :]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, close_fds=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the owner, who closes our input
    signal.signal(signal.SIGTERM, lambda *_: end_group(process))
    threading.Thread(target=_wait_for_owner, args=(process,), daemon=True).start()
    code = process.wait()
    end_group(process)  # what the command has started goes with it
    return code


def _wait_for_owner(process: "subprocess.Popen[bytes]") -> None:
    while os.read(0, 4096):
        pass
    end_group(process)


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a process group: ask, wait, then insist. A group that is gone is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            process.poll()  # reap the leader, or the group never empties
            os.killpg(process.pid, 0)
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
