"""The process in which stages of one session run, one after the other."""

import os
import signal
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from pathlib import Path

from harness.core.errors import HarnessError
from harness.judge.budget import Budgets
from harness.plan.events import Advanced, Ended, Event, Started
from harness.stages.api import Session
from harness.stages.runner import Order, run_stage
from harness.store.store import Busy, Store


@dataclass(frozen=True)
class Assignment:
    """What one worker does."""

    store: Path
    orders: tuple[Order, ...]
    threads: int
    gpus: tuple[str, ...]


def work(assignment: Assignment, channel: "connection.Connection[Event, None]") -> None:
    """Entry point of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(assignment.gpus)
    os.environ["OMP_NUM_THREADS"] = str(assignment.threads)
    import torch
    from transformers.utils import logging

    torch.set_num_threads(assignment.threads)
    logging.disable_progress_bar()  # progress is ours to show
    run_orders(Store(assignment.store), assignment.orders, assignment.gpus, channel)


def _die_with_parent() -> None:
    parent = parent_process()
    assert parent is not None, "a worker is started by a driver"
    connection.wait([parent.sentinel])
    os._exit(1)


def run_orders(
    store: Store,
    orders: Sequence[Order],
    gpus: Sequence[str],
    channel: "connection.Connection[Event, None]",
    budgets: Budgets | None = None,
) -> None:
    """Run stages in a session of their own; every outcome goes down the channel, a failure stops none of the others."""
    session = Session(gpus, budgets)
    try:
        for order in orders:
            channel.send(Started(order.id, order.title))
            clock = time.monotonic()
            status, error = _outcome(store, order, session, channel)
            channel.send(Ended(order.id, order.title, status, time.monotonic() - clock, error))
    finally:
        session.close()
        channel.close()


def _outcome(
    store: Store, order: Order, session: Session, channel: "connection.Connection[Event, None]"
) -> tuple[str, str]:
    last = 0.0

    def progress(done: int, total: int, unit: str, **values: float | str) -> None:
        nonlocal last
        now = time.monotonic()
        if done >= total or now - last > 0.2:
            last = now
            channel.send(Advanced(order.id, done, total, unit, dict(values)))

    try:
        return ("built" if run_stage(store, order, session, progress) else "found"), ""
    except Busy:
        return "busy", ""
    except HarnessError as error:
        return "failed", str(error)
    except Exception:  # a defect of ours or of a library: the run goes on without what depends on this stage
        return "failed", traceback.format_exc()
