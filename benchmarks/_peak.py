"""How much memory a piece of work takes above what the process holds at rest."""

import ctypes
import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

EVERY = 0.002
"""Seconds between two looks at the process."""


class Peak:
    """What was seen, in MB."""

    rest = 0.0
    peak = 0.0

    @property
    def above(self) -> float:
        return self.peak - self.rest


@contextmanager
def peak() -> Iterator[Peak]:
    """Watch this process's resident memory while the work inside is done."""
    gc.collect()
    with suppress(OSError, AttributeError):  # Only glibc gives freed memory back when it is asked.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    process, seen, done = psutil.Process(), Peak(), threading.Event()
    seen.rest = seen.peak = process.memory_info().rss / 1e6

    def watch() -> None:
        while not done.is_set():
            seen.peak = max(seen.peak, process.memory_info().rss / 1e6)
            time.sleep(EVERY)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()
