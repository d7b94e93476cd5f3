"""A short measurement of this machine, from which plans tell how long stages take."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from harness.core.errors import HarnessError
from harness.doctor.diagnosis import Finding
from harness.plan.devices import RATES, this_machine, write_rates

_CHILD = "harness.doctor.rates_child"


def measure(results: Path) -> Finding:
    """Measure rates, and keep them in the results folder; takes about 15 seconds.

    Raises:
        HarnessError: torch cannot run here.
    """
    done = subprocess.run([sys.executable, "-m", _CHILD], check=False, capture_output=True, text=True, timeout=300)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise HarnessError("nothing could be measured", where=_CHILD, fix=lines[-1] if lines else "Is torch here?")
    found = json.loads(done.stdout.splitlines()[-1])
    write_rates(results, found["rates"], found["bandwidth"], datetime.now(UTC).date().isoformat())
    rates = ", ".join(f"{dtype} {rate / 1e9:,.0f} GFLOP/s" for dtype, rate in found["rates"].items())
    what = f"{rates}, memory {found['bandwidth'] / 1e9:,.0f} GB/s ({this_machine()})"
    return Finding("rates", "ok", f"{what}; kept in {results / RATES}")
