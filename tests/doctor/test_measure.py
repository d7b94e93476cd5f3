"""A short measurement of this machine, kept for plans."""

import subprocess
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.doctor import measure, rates_child
from harness.plan.devices import device, read_rates
from harness.recipe.schema import ResourceSettings


def test_a_plan_reads_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = '{"rates": {"float32": 3e11, "bfloat16": 2e12}, "bandwidth": 2e10}\n'
    monkeypatch.setattr(
        "subprocess.run", lambda command, **_: subprocess.CompletedProcess(command, 0, f"noise\n{said}", "")
    )
    found = measure.measure(tmp_path)
    assert found.status == "ok"
    assert "bfloat16 2,000 GFLOP/s, memory 20 GB/s" in found.found
    assert read_rates(tmp_path) is not None
    assert device(ResourceSettings(), tmp_path).rates == {"float32": 3e11, "bfloat16": 2e12}


def test_without_torch_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\nModuleNotFoundError: No module named 'torch'")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: failed)
    with pytest.raises(HarnessError, match="nothing could be measured") as raised:
        measure.measure(tmp_path)
    assert "No module named 'torch'" in str(raised.value)
    assert read_rates(tmp_path) is None


def test_a_rate_is_the_amount_by_the_median_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 1.0, 1.0, 3.0, 3.0, 7.0, 7.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    monkeypatch.setattr(rates_child, "_SECONDS", 0.0)
    assert rates_child.rate(lambda: None, 10.0, "cpu") == 5.0
