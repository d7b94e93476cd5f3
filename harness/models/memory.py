"""When memory runs out, on a GPU or not."""

import ctypes
from contextlib import suppress

import torch

_M_MMAP_THRESHOLD, _LARGE = -3, 1 << 20


def give_back_at_once() -> None:
    """Have the C library give a freed tensor's memory back to the system, in this process from now on.

    By itself glibc soon keeps blocks of up to 32 MB in a heap that only shrinks at its end: trainings on a CPU then
    hold a quarter to a half more than their tensors take (results/reference/memory), and are no faster for it.
    """
    with suppress(OSError, AttributeError):  # only glibc has the call
        ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, _LARGE)


def ran_out(error: RuntimeError) -> bool:
    """Whether an error says that memory ran out; the CPU's allocator raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def release() -> None:
    """Free the memory of a failed attempt. Call it after the error is gone, because the error's frames hold tensors."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
