"""What is here: packages, processor, memory, GPUs, disk, keys. torch is asked in a process of its own."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.core.machine import gpu_names

VISION = ("torchvision", "torchaudio", "torchcodec")
"""Packages that hold operators of torch's own build."""
_TORCH = "import json, torch; print(json.dumps([torch.version.cuda, torch.cuda.is_available()]))"


@dataclass(frozen=True)
class Facts:
    """What `diagnosis` judges."""

    python: str
    requirements: tuple[str, ...]
    """What the installed harness requires, extras included, by its metadata; empty where it is not installed."""
    packages: Mapping[str, str]
    """Installed packages (names in lower case with dashes) -> version."""
    broken: Mapping[str, str]
    """Modules that are installed and cannot be imported -> why."""
    torch_cuda: str | None
    """The CUDA version that torch is built for; None for a CPU build."""
    torch_sees_gpu: bool
    gpus: tuple[str, ...]
    """What nvidia-smi lists."""
    cpu_flags: frozenset[str]
    cores: int
    memory_gb: float
    results: str
    free_gb: float
    """On the disk of the results folder."""
    writable: bool
    keys: frozenset[str]
    """Environment variables that look like keys of an endpoint; names only."""


def probe(results: Path) -> Facts:
    """Look at this machine and at the environment that we run in; takes a few seconds."""
    packages = _packages()
    modules = {"torch": _TORCH, "transformers": "import transformers.modeling_utils"}
    modules |= {name: f"import {name}" for name in VISION}
    tried = {name: _python(code) for name, code in modules.items() if name in packages}
    cuda, sees = json.loads(tried["torch"].stdout) if "torch" in tried and not tried["torch"].returncode else (None, 0)
    place = _nearest(results)
    return Facts(
        python=platform.python_version(),
        requirements=_requirements(),
        packages=packages,
        broken={name: _reason(done) for name, done in tried.items() if done.returncode},
        torch_cuda=cuda,
        torch_sees_gpu=bool(sees),
        gpus=gpu_names(),
        cpu_flags=_cpu_flags(),
        cores=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        memory_gb=_memory() / 2**30,
        results=str(results),
        free_gb=shutil.disk_usage(place).free / 2**30,
        writable=os.access(place, os.W_OK),
        keys=frozenset(name for name, value in os.environ.items() if name.endswith("_API_KEY") and value),
    )


def _packages() -> dict[str, str]:
    found = importlib.metadata.distributions()
    return {canonical(d.name): d.version for d in found if d.name}


def canonical(name: str) -> str:
    """A package's name as the index writes it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirements() -> tuple[str, ...]:
    try:
        return tuple(importlib.metadata.requires("harness") or ())
    except importlib.metadata.PackageNotFoundError:
        return ()


def _python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=300)


def _reason(done: "subprocess.CompletedProcess[str]") -> str:
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def _nearest(folder: Path) -> Path:
    """The folder, or the first above it that is there."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.exists())


def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    named = (line.split(":", 1)[1].split() for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(named, []))


def _memory() -> int:
    """Bytes that we may use: the machine's, or the container's limit."""
    total = int(psutil.virtual_memory().total)
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such limit ("max")
        return total
