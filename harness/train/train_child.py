"""`torchrun -m harness.train.train_child JOB`: a process of a training; `train.processes` starts it.

JOB is the file with the job and its place. Progress and the first fault go to files in its work folder. The process
ends when torchrun does, however that ends: the next start trains in the same folder.
"""

import contextlib
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.lines import append_lines
from harness.train.processes import ERROR, PROGRESS, read_job

_POLL_S = 0.2


def main(words: list[str]) -> int:
    """Run the job; 1 where it fails."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    from harness.train.run import train  # which imports torch: torchrun may be killed meanwhile

    job, place = read_job(Path(words[0]))

    def progress(done: int, total: int, unit: str, **values: float | str) -> None:
        append_lines(place.work / PROGRESS, [{"done": done, "total": total, "unit": unit, "values": values}])

    try:
        train(job, place, progress)
    except HarnessError as error:
        return _failed(place.work, {"what": error.what, "where": error.where, "fix": error.fix})
    except Exception:  # a defect of ours or of a library: its traceback is shown, as in a training of one process
        return _failed(place.work, {"traceback": traceback.format_exc()})
    return 0


def _end_with(parent: int) -> None:
    """End this process after its parent; torchrun gives it a session, so that no signal to a group reaches it."""
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    os._exit(1)


def _failed(work: Path, fault: dict[str, str]) -> int:
    """Write the fault for the parent, unless another process has: later faults follow from the first."""
    with contextlib.suppress(FileExistsError), (work / ERROR).open("x") as file:
        json.dump(fault, file)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
