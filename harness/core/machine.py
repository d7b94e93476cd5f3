"""What this machine offers, found without importing torch."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import psutil


def visible_gpus() -> list[str]:
    """The GPUs a run may place stages on: CUDA_VISIBLE_DEVICES where it is set, else what nvidia-smi lists."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu for gpu in named.split(",") if gpu and gpu != "-1"]
    return [str(i) for i in range(len(gpu_names()))]


@cache
def gpu_names() -> tuple[str, ...]:
    """The GPUs that nvidia-smi lists, by its own words."""
    if shutil.which("nvidia-smi") is None:
        return ()
    listed = subprocess.run(["nvidia-smi", "-L"], check=False, capture_output=True, text=True, timeout=30)  # noqa: S607
    return tuple(line.split(" (UUID")[0] for line in listed.stdout.splitlines() if line.startswith("GPU "))


@cache
def gpu_memory_gb() -> float | None:
    """The memory of the smallest GPU that nvidia-smi lists, in GB; None without a GPU."""
    if not gpu_names():
        return None
    asked = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    listed = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=30)
    sizes = [int(line) for line in listed.stdout.split() if line.isdecimal()]
    return min(sizes) * 2**20 / 1e9 if sizes else None


def memory() -> int:
    """Bytes of memory: the machine's, or the container's limit if that is lower."""
    total = int(psutil.virtual_memory().total)
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such limit ("max")
        return total
