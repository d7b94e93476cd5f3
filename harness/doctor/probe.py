"""Facts about this machine: packages, processor, memory, GPUs, disk, keys. Other processes try the imports."""

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

from harness.core.machine import gpu_names, memory

VISION = ("torchvision", "torchaudio", "torchcodec")
"""Packages with operators that must fit torch's build."""
_TORCH = "import json, torch; print(json.dumps([torch.version.cuda, torch.cuda.is_available()]))"


@dataclass(frozen=True)
class Facts:
    """The input of `diagnosis`."""

    python: str
    requirements: tuple[str, ...]
    """The requirements in the installed harness's metadata, extras included; empty if it is not installed."""
    packages: Mapping[str, str]
    """Installed packages (names in lower case with dashes) -> version."""
    broken: Mapping[str, str]
    """Installed modules that cannot be imported -> why."""
    torch_cuda: str | None
    """The CUDA version that torch is built for; None for a CPU build."""
    torch_sees_gpu: bool
    gpus: tuple[str, ...]
    """Names that nvidia-smi lists."""
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
    """The facts about this machine and this process's environment; takes a few seconds."""
    packages = {canonical(d.name): d.version for d in importlib.metadata.distributions() if d.name}
    modules = {"torch": _TORCH, "transformers": "import transformers.modeling_utils"}
    modules |= {name: f"import {name}" for name in VISION}
    imports = {name: _python(code) for name, code in modules.items() if name in packages}
    torch = imports.get("torch")
    cuda, sees = json.loads(torch.stdout) if torch is not None and not torch.returncode else (None, False)
    place = _nearest(results)
    return Facts(
        python=platform.python_version(),
        requirements=_requirements(),
        packages=packages,
        broken={name: _reason(process) for name, process in imports.items() if process.returncode},
        torch_cuda=cuda,
        torch_sees_gpu=sees,
        gpus=gpu_names(),
        cpu_flags=_cpu_flags(),
        cores=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        memory_gb=memory() / 2**30,
        results=str(results),
        free_gb=shutil.disk_usage(place).free / 2**30,
        writable=os.access(place, os.W_OK),
        keys=frozenset(name for name, value in os.environ.items() if name.endswith("_API_KEY") and value),
    )


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


def _reason(process: "subprocess.CompletedProcess[str]") -> str:
    lines = process.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {process.returncode}"


def _nearest(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.exists())


def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    named = (line.split(":", 1)[1].split() for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(named, []))
