"""Work for processes on this machine's other cores, which end when we do, however we end."""

import contextlib
import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import connection, parent_process
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """The cores that this process may use: what a worker was given (OMP_NUM_THREADS), or all of its machine."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(int(given), there) if given.isdecimal() and int(given) else there


def mapped(
    work: Callable[[T], R], items: Iterable[T], processes: int, start: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[R]:
    """`work` of each item, in order; `start(*arguments)` is called once in each process, before its first item.

    At most two items a process are under way, so that memory does not grow with their number. With one process
    everything happens in this one. Both functions must be importable by name.
    """
    if processes == 1:
        start(*arguments)
        yield from map(work, items)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_start, initargs=(start, arguments)) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                with without_main():
                    waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _start(start: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=die_with_parent, daemon=True).start()
    start(*arguments)


def die_with_parent() -> None:
    """Wait for the end of the process that started this one, and end this one then."""
    parent = parent_process()
    assert parent is not None, "called in a process that another one started"
    connection.wait([parent.sentinel])
    os._exit(1)


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Start processes that do not import the main module: a script without `if __name__ == "__main__"` would run anew
    in each of them, and none of our processes needs a name of it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
