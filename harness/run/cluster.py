"""A Ray cluster that runs sessions: each is a task with its resources, on whichever node has room.

The driver, its ledger and its judges stay on their machine; every node must see the results folder under the same path.
A task is a generator of events, so that a stage's events come back as they happen.
"""

import contextlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError, brief
from harness.run import worker
from harness.run.events import Ended, Event, Started
from harness.stages.runner import Order

_MOST_TRIES = 3
"""Tries of a session whose node or process is lost."""
_ANSWER_S = 10.0


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that this process is connected to."""

    store: Path
    cores: int
    """Cores of a task, and so its threads."""

    @property
    def gpus_of_a_node(self) -> int:
        """The largest number of GPUs of any node."""
        return _most("GPU")

    def start(
        self, orders: tuple[Order, ...], gpus: int
    ) -> "tuple[connection.Connection[None, Event], Callable[[], None]]":
        """Hand in a session; returns the channel of its events, open until its end, and a function that stops it."""
        receiver, sender = connection.Pipe(duplex=False)
        session = _Submitted(self, orders, gpus)
        threading.Thread(target=session.follow, args=(sender,), daemon=True).start()
        return receiver, session.cancel


@contextlib.contextmanager
def connected(address: str | None, store: Path, cores: int) -> Iterator[Cluster]:
    """The cluster at an address (`auto`: the cluster of this machine), or without an address a cluster of this machine.

    Raises:
        HarnessError: ray is not installed, no cluster answers there, or no node has so many cores.
    """
    try:
        import ray
    except ImportError:
        raise HarnessError("ray is not installed", where="--executor", fix="pip install 'harness[ray]'") from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ours = {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    _check_answers(address)
    try:
        ray.init(**({"address": address} if address else ours), log_to_driver=True, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(address, error) from None
    try:
        if cores > (most := _most("CPU")):
            raise HarnessError(f"no node has {cores} cores: the largest has {most}", where="--cores")
        yield Cluster(store.absolute(), cores)
    finally:
        ray.shutdown()


def _check_answers(address: str | None) -> None:
    """Fail within seconds where no cluster answers, because Ray tries for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _no_cluster(address, error) from None


def _no_cluster(address: str | None, error: Exception) -> HarnessError:
    fix = (
        "`ray start --head` starts a cluster on this machine, `ray start --address HOST:6379` adds another to it; "
        "start the run on a machine of the cluster. If the cluster has a token, set RAY_AUTH_MODE=token here too."
    )
    return HarnessError(f"no Ray cluster answers ({brief(error)})", where=f"--address {address}", fix=fix)


def _most(resource: str) -> int:
    """The largest amount of a resource on any node."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return max((int(node["Resources"].get(resource, 0)) for node in nodes if node["Alive"]), default=0)


class _Submitted:
    """A session that was handed to the cluster."""

    def __init__(self, cluster: Cluster, orders: tuple[Order, ...], gpus: int) -> None:
        self.cluster, self.left, self.gpus = cluster, list(orders), gpus
        self.events: Any = None
        self.cancelled = False

    def follow(self, sender: "connection.Connection[Event, None]") -> None:
        """Pass on the task's events; if its node or process is lost, hand in the rest of its stages again."""
        import ray

        with sender:
            for number in range(1, _MOST_TRIES + 1):
                try:
                    self._follow_once(sender)
                except (ray.exceptions.RayError, OSError) as error:
                    if self.cancelled or not self.left:
                        return
                    again = ": handed in again" if number < _MOST_TRIES else ""
                    line = f"{self.left[0].title}: lost with its node or process ({brief(error)}){again}"
                    print(line, file=sys.stderr, flush=True)
                else:
                    return

    def _follow_once(self, sender: "connection.Connection[Event, None]") -> None:
        import ray

        # Ray's process may stay for the next session (max_calls=0), because the worker process holds the GPU, not it.
        as_task = ray.remote(
            num_cpus=self.cluster.cores, num_gpus=self.gpus, max_retries=0, max_calls=0, num_returns="streaming"
        )
        self.events = as_task(_session).remote(self.cluster.store, tuple(self.left), self.cluster.cores)
        for event in self.events:
            reported: Event = ray.get(event)
            if isinstance(reported, Ended):
                self.left = [order for order in self.left if order.id != reported.stage]
            sender.send(reported)

    def cancel(self) -> None:
        """End the task and its worker process."""
        import ray

        self.cancelled = True
        if self.left and self.events is not None:
            ray.cancel(self.events, force=True)


def _session(store: Path, orders: tuple[Order, ...], cores: int) -> Iterator[Event]:
    """The task: starts the same worker process as the local executor, and passes on its events.

    The worker process ends with its session, and with this task however that ends; the fork server stays for the next.
    """
    import ray

    if not (store / "planned" / f"{orders[0].id}.json").exists():
        fix = "Put --results on a file system that every node has under the same path."
        unseen = HarnessError(f"node {os.uname().nodename} does not see the results folder", where=str(store), fix=fix)
        for order in orders:
            yield Started(order.id, order.title)
            yield Ended(order.id, order.title, "failed", error=str(unseen))
        return
    gpus = tuple(map(str, ray.get_runtime_context().get_accelerator_ids().get("GPU", ())))
    channel, stop = worker.start(worker.Assignment(store, orders, cores, gpus))
    try:
        while True:
            yield channel.recv()
    except EOFError:
        return  # the process has ended; the driver notices the stages without an end
    finally:
        stop()
