"""One training in several processes: torchrun starts them, each runs the same stage and takes its share of a batch.

`python -m harness.stages.processes STORE ID OUT WORK` is one of them.
"""

import contextlib
import json
import os
import sys
import time
import traceback
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.guarded import guarded, tail
from harness.core.lines import append_lines
from harness.stages.api import Context
from harness.store.store import Store

_POLL_S = 0.2
_PROGRESS, _ERROR, _LOG = "progress.jsonl", "error.json", "processes.log"


def train_in_processes(ctx: Context) -> None:
    """Run a train stage in as many processes as its `execution` says; HarnessError when one of them fails."""
    count: int = ctx.execution["processes"]
    for name in (_PROGRESS, _ERROR, _LOG):
        (ctx.work / name).unlink(missing_ok=True)  # of an earlier, stopped start
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    places = [str(ctx.store.root), ctx.id, str(ctx.out), str(ctx.work)]
    threads = max(1, int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)) // count)
    command = [*run, "-m", "harness.stages.processes", *places]
    told = 0
    with guarded(command, {"OMP_NUM_THREADS": str(threads)}, ctx.work / _LOG) as process:
        while process.poll() is None:
            time.sleep(_POLL_S)
            told = _relay(ctx, told)
    _relay(ctx, told)
    if process.returncode and (ctx.work / _ERROR).exists():
        fault = json.loads((ctx.work / _ERROR).read_text())
        raise HarnessError(**fault) if "what" in fault else RuntimeError(fault["traceback"])
    if process.returncode:
        raise HarnessError(f"a training process ended with code {process.returncode}", fix=tail(ctx.work / _LOG))


def _relay(ctx: Context, told: int) -> int:
    """Pass on what the first process has reported since; the last line may be half written."""
    path = ctx.work / _PROGRESS
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    for line in lines[told:]:
        said = json.loads(line)
        ctx.progress(said["done"], said["total"], said["unit"], **said["values"])
    return len(lines)


def main(words: list[str]) -> int:
    """One of the processes."""
    from harness.stages.runner import read_order
    from harness.stages.train import event_folder, train_here

    store, stage_id, out, work = words
    order = read_order(Store(Path(store)), stage_id)
    events = event_folder(Store(Path(store)), stage_id, order.execution)
    inputs = {name: Path(place) for name, place in order.inputs.items()}

    def progress(done: int, total: int, unit: str, **values: float | str) -> None:
        append_lines(Path(work) / _PROGRESS, [{"done": done, "total": total, "unit": unit, "values": values}])

    try:
        train_here(order.identity["params"], order.execution, inputs, Path(out), Path(work), events, progress)
    except HarnessError as error:
        return _failed(Path(work), {"what": error.what, "where": error.where, "fix": error.fix})
    except Exception:  # a defect of ours or of a library: a traceback where a single process would have shown one
        return _failed(Path(work), {"traceback": traceback.format_exc()})
    return 0


def _failed(work: Path, fault: dict[str, str]) -> int:
    """Tell the parent, unless another process has: what fails later fails because the first is gone."""
    with contextlib.suppress(FileExistsError), (work / _ERROR).open("x") as file:
        json.dump(fault, file)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
