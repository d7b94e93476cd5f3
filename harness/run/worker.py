"""The process in which the stages of a session run, one after another."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.plugins import name_files
from harness.core.pool import die_with_parent, without_main
from harness.judge.budget import Budgets
from harness.run.events import Advanced, Ended, Event, Started
from harness.stages.api import Session
from harness.stages.runner import Damaged, Order, run_stage
from harness.store.store import Busy, Store


@dataclass(frozen=True)
class Assignment:
    """The work of a worker process."""

    store: Path
    orders: tuple[Order, ...]
    threads: int
    gpus: tuple[str, ...]


def start(assignment: Assignment) -> tuple["connection.Connection[None, Event]", Callable[[], None]]:
    """Start a worker process from the fork server; returns the channel of its events, and a function that stops it.

    The channel ends (EOFError) with the process.
    """
    # Threads that spin while they wait make two busy processes four times slower than threads that sleep, and with
    # huge pages a training step spends less on fresh memory (`benchmarks/dae_step.py`). Both variables are read once,
    # when the fork server imports torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["harness.run.preload"])
    receiver, sender = connection.Pipe(duplex=False)
    process = context.Process(target=work, args=(assignment, sender))
    with without_main():
        process.start()
    sender.close()  # the worker has a copy: when it dies, the receiver reads end of file

    def stop() -> None:
        if process.pid is not None and process.is_alive():
            with contextlib.suppress(ProcessLookupError):  # it may have ended in between
                os.kill(process.pid, signal.SIGKILL)  # loses nothing: journals are synced line by line
        process.join()

    return receiver, stop


def work(assignment: Assignment, channel: "connection.Connection[Event, None]") -> None:
    """Entry point of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the driver stops workers
    threading.Thread(target=die_with_parent, daemon=True).start()
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(assignment.gpus)
    os.environ["OMP_NUM_THREADS"] = str(assignment.threads)
    name_files(dict.fromkeys(file for order in assignment.orders for file in order.plugins))
    import torch
    from transformers.utils import logging

    torch.set_num_threads(assignment.threads)
    logging.disable_progress_bar()  # the harness shows progress itself
    run_orders(Store(assignment.store), assignment.orders, assignment.gpus, channel)


def run_orders(
    store: Store,
    orders: Sequence[Order],
    gpus: Sequence[str],
    channel: "connection.Connection[Event, None]",
    budgets: Budgets | None = None,
) -> None:
    """Run stages in a session; each end goes into the channel, and a failure does not stop the stages after it."""
    session = Session(gpus, budgets)
    try:
        for order in orders:
            channel.send(Started(order.id, order.title))
            clock = time.monotonic()
            status, error, damaged = _outcome(store, order, session, channel)
            channel.send(Ended(order.id, order.title, status, time.monotonic() - clock, error, damaged))
    finally:
        session.close()
        channel.close()


def _outcome(
    store: Store, order: Order, session: Session, channel: "connection.Connection[Event, None]"
) -> tuple[str, str, str]:
    """Status, error, damaged input."""
    last = 0.0

    def progress(done: int, total: int, unit: str, **values: float | str) -> None:
        nonlocal last
        now = time.monotonic()
        if done >= total or now - last > 0.2:
            last = now
            channel.send(Advanced(order.id, done, total, unit, dict(values)))

    try:
        return ("built" if run_stage(store, order, session, progress) else "found"), "", ""
    except Busy:
        return "busy", "", ""
    except Damaged as error:
        return "damaged", error.what, error.stage
    except HarnessError as error:
        return "failed", str(error), ""
    except Exception:  # a defect of ours or of a library: the run goes on without what depends on this stage
        return "failed", traceback.format_exc(), ""
