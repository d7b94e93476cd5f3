"""What this machine offers, found without importing torch."""

import os
import shutil
import subprocess
from functools import cache


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
