"""How fast a device is, and how much it holds: measured here, or by its maker's data sheet."""

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.lines import write_json
from harness.core.machine import gpu_memory_gb, gpu_names, memory
from harness.recipe.schema import ResourceSettings
from harness.store.provenance import hardware

RATES = "rates.json"
"""The file of a results folder that holds what `harness doctor --measure` found of this machine."""

Shares = Mapping[str, tuple[float, float, float]]
"""Work -> the share of a rate that it reaches: at least, expected, at most."""
OF_PEAK: Shares = {"training": (0.2, 0.3, 0.45), "pass": (0.2, 0.4, 0.6), "decode": (0.15, 0.4, 0.7)}
"""Of a data sheet's peak; for decoding, of its bandwidth. `training`: torch's FSDP with its fused attention trains a 7B
model at 31 % of an H100 and 48 % of an A100 (7,500 and 3,700 tokens a second, the table of foundation-model-stack's
fms-fsdp, counted as here), tuned and compiled; a plain Trainer reaches less. `pass` and `decode` are our judgement, not
measurements."""
OF_MEASURED: Shares = {"training": (0.3, 0.5, 0.7), "pass": (0.4, 0.6, 0.85), "decode": (0.05, 0.2, 0.5)}
"""Of this machine's measured rate. `training`: 51 % on a CPU (results/reference/training-speed); the others are our
judgement."""


@dataclass(frozen=True)
class Device:
    """A GPU, or a machine without one."""

    name: str
    """As a plan says it."""
    memory_bytes: float | None
    rates: Mapping[str, float]
    """Operations a second by dtype; empty where nothing is known."""
    bandwidth: float
    """Bytes a second; 0 where it is not known."""
    shares: Shares
    on_gpu: bool


def device(resources: ResourceSettings, results: Path) -> Device:
    """The device that stages with these resources run on; without `gpus` this machine.

    Raises:
        HarnessError: `resources.gpu` names no known kind.
    """
    measured = read_rates(results)
    if not resources.gpus:
        rates, bandwidth = (measured["rates"], measured["bandwidth"]) if measured else ({}, 0.0)
        cpu = hardware()["cpu"]
        return Device(f"{cpu}, measured" if measured else cpu, float(memory()), rates, bandwidth, OF_MEASURED, False)
    here = gpu_names()[0].partition(": ")[2] if gpu_names() else ""
    row = _named(resources.gpu) if resources.gpu else _like(here)
    is_here = bool(here) and (resources.gpu is None or row == _like(here))
    size = resources.gpu_memory_gb or (gpu_memory_gb() if is_here else None) or (row and float(row["memory_gb"]))
    bytes_here = 1e9 * size if size else None
    if is_here and measured:
        return Device(f"{here}, measured", bytes_here, measured["rates"], measured["bandwidth"], OF_MEASURED, True)
    if row is None:
        return Device(here or "a GPU of unknown kind", bytes_here, {}, 0.0, OF_PEAK, True)
    rates = {dtype: 1e12 * float(row[f"{dtype}_tflops"]) for dtype in ("bfloat16", "float32")}
    return Device(row["name"], bytes_here, rates, 1e9 * float(row["bandwidth_gbs"]), OF_PEAK, True)


@cache
def _table() -> list[dict[str, str]]:
    with Path(__file__).with_name("devices.csv").open() as file:
        return list(csv.DictReader(file))


def _named(name: str) -> dict[str, str]:
    for row in _table():
        if row["name"] == name:
            return row
    known = ", ".join(row["name"] for row in _table())
    fix = f"Known: {known}. For others give gpu_memory_gb alone."
    raise HarnessError(f"no GPU of the name {name!r} is known", where="resources.gpu", fix=fix)


def _like(name: str) -> dict[str, str] | None:
    return next((row for row in _table() if re.search(row["pattern"], name)), None) if name else None


def this_machine() -> str:
    """The name under which rates are kept: processor, cores, GPUs."""
    facts = hardware()
    return "; ".join([facts["cpu"], f"{facts['cores']} cores", *gpu_names()])


def write_rates(results: Path, rates: Mapping[str, float], bandwidth: float, day: str) -> None:
    """Keep what was measured of this machine."""
    results.mkdir(parents=True, exist_ok=True)
    kept = {"machine": this_machine(), "rates": dict(rates), "bandwidth": bandwidth, "date": day}
    write_json(results / RATES, kept)


def read_rates(results: Path) -> dict[str, Any] | None:
    """What was measured of this machine; None where nothing was, or of another machine."""
    file = results / RATES
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return kept if kept.get("machine") == this_machine() else None
