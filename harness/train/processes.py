"""A training in several processes: torchrun starts them, each runs the job and takes its share of every batch."""

import json
import os
import sys
import time
from pathlib import Path

from pydantic import TypeAdapter

from harness.core.canonical import canonical
from harness.core.errors import HarnessError
from harness.core.guarded import guarded, tail
from harness.train.job import TrainJob, TrainPlace
from harness.train.trainer import Progress

CHILD = "harness.train.train_child"
PROGRESS, ERROR = "progress.jsonl", "error.json"
"""Files that the processes write in the work folder: the first process's progress, the first fault of any."""
_JOB, _LOG = "job.json", "processes.log"
_KILLED = "Signal 9 (SIGKILL) received by PID"
"""What torchrun writes of a process that was killed."""
_POLL_S = 0.2
_RETURNED = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
"""Has glibc give each freed block of 1 MB or more back to the system. By itself it soon keeps blocks of up to 32 MB,
and weights that are gathered and freed layer by layer then leave gaps: a sixth of a process's memory on a CPU."""


def train_in_processes(job: TrainJob, place: TrainPlace, progress: Progress) -> None:
    """`train.run.train` in as many processes as the job says; HarnessError when one of them fails."""
    work, count = place.work, job.parallel.processes
    for name in (PROGRESS, ERROR, _LOG):
        (work / name).unlink(missing_ok=True)  # an earlier start that was stopped may have left it
    write_job(work / _JOB, job, place)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    threads = max(1, int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)) // count)
    reported = 0
    command = [*run, "-m", CHILD, str(work / _JOB)]
    variables = {"OMP_NUM_THREADS": str(threads)}
    if job.parallel.sharding == "fsdp":
        variables |= _RETURNED
    with guarded(command, variables, work / _LOG) as process:
        while process.poll() is None:
            time.sleep(_POLL_S)
            reported = _relay(work / PROGRESS, progress, reported)
    _relay(work / PROGRESS, progress, reported)
    if process.returncode:
        raise _fault(work, process.returncode)


def _fault(work: Path, code: int) -> Exception:
    """Why the processes ended with this code: what one of them said, or that it was killed before it could."""
    fault = json.loads((work / ERROR).read_text()) if (work / ERROR).exists() else {}
    if "what" in fault:
        return HarnessError(**fault)
    if _KILLED in (work / _LOG).read_text(errors="replace"):  # the others then fail because they miss it
        return HarnessError(
            "a training process was killed (SIGKILL), as a system does that runs out of memory",
            fix="Run again: it goes on from its last checkpoint. If it is killed again, take a smaller "
            "`micro_batch_size`, or `gradient_checkpointing: true`.",
        )
    if fault:
        return RuntimeError(fault["traceback"])
    return HarnessError(f"a training process ended with code {code}", fix=tail(work / _LOG))


def write_job(file: Path, job: TrainJob, place: TrainPlace) -> None:
    """Write a job and its place to a file for another process."""
    where = TypeAdapter(TrainPlace).dump_python(place, mode="json")
    file.write_bytes(canonical({"identity": job.identity, "execution": job.execution, "place": where}))


def read_job(file: Path) -> tuple[TrainJob, TrainPlace]:
    """The job and the place that `write_job` wrote."""
    written = json.loads(file.read_text())
    job = TrainJob.restore(written["identity"], written["execution"])
    return job, TypeAdapter(TrainPlace).validate_python(written["place"])


def _relay(file: Path, progress: Progress, reported: int) -> int:
    """Pass on what the first process has reported since; the last line may be half written."""
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    for line in lines[reported:]:
        report = json.loads(line)
        progress(report["done"], report["total"], report["unit"], **report["values"])
    return len(lines)
