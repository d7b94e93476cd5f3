"""The tests that compute floats, in each way in which this processor can add them up.

torch and the libraries that multiply matrices for it pick their kernels by the processor, and split a sum between
threads: either changes the last bits. A test that passes here under one of them and fails under another has a tolerance
that does not follow from what it adds up, or has found a fault.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

TESTS = Path(__file__).parent
CAPABILITIES = {
    "default": {"ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx512": {},
}
"""torch's names on x86, each with all before it, and what holds oneDNN and (on Intel's) MKL to the same."""
NO_FLOATS = {"api", "browser", "cli", "core", "data", "docs", "durability", "fuzz", "papers", "real", "recipe", "store"}
"""Rooms left out: they handle text, files and processes, or run what other rooms test in small. A new room is in."""


def rooms(tests: Path = TESTS) -> list[Path]:
    """The folders of the tests that compute."""
    found = sorted(path for path in tests.iterdir() if any(path.glob("test_*.py")))
    return [path for path in found if path.name not in NO_FLOATS]


def had(best: str) -> tuple[str, ...]:
    """The capabilities of a processor whose best one is `best`; another family's kernels go by one name."""
    names = tuple(CAPABILITIES)
    return names[: names.index(best) + 1] if best in names else ("default",)


def best_capability() -> str:
    """What torch would use here by itself."""
    code = "import torch; print(torch.backends.cpu.get_cpu_capability().lower())"
    asked = {name: value for name, value in os.environ.items() if name != "ATEN_CPU_CAPABILITY"}
    told = subprocess.run([sys.executable, "-c", code], env=asked, capture_output=True, text=True, check=True)
    return told.stdout.strip()


def passed(capability: str, threads: int, given: Sequence[str]) -> bool:
    """Run the tests in one way, and say in a line how that went."""
    processes = max(1, (os.cpu_count() or 1) // threads)
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-n", str(processes), "--dist", "loadfile"]
    own = {"ATEN_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": str(threads)}
    environment = {**os.environ, **CAPABILITIES[capability], **own}
    started = time.monotonic()
    done = subprocess.run([*command, *(given or map(str, rooms()))], env=environment, cwd=TESTS.parent)
    outcome = "passed" if done.returncode == 0 else f"FAILED (pytest ended with {done.returncode})"
    print(f"{capability}, {threads} thread(s): {outcome} in {time.monotonic() - started:.0f} s", flush=True)
    return done.returncode == 0


def main() -> int:
    """Each capability with each number of threads; 1 where one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.processors", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--capabilities", nargs="+", choices=CAPABILITIES, default=list(CAPABILITIES), help="of %(choices)s"
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="of torch, per process")
    parser.add_argument("tests", nargs="*", help="what to run (every room that computes); after --")
    asked = parser.parse_args()
    best = best_capability()
    here = [name for name in asked.capabilities if name in had(best)]
    ways = [(name, threads) for name in here for threads in asked.threads]
    passes = [passed(*way, asked.tests) for way in ways]
    for name in asked.capabilities:
        if name not in here:
            print(f"{name}: SKIPPED, this processor's best is {best}")
    print(f"{sum(passes)} of {len(passes)} ways passed")
    return 0 if ways and all(passes) else 1


if __name__ == "__main__":
    sys.exit(main())
