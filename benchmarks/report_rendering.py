"""How long a report takes and how large its page is, for sweeps of several sizes.

    python -m benchmarks.report_rendering

Made-up runs (tests/report/fake_run.py) with training curves and transcripts: 20, 73 and 200 cells, 200 rows without
replicates, and 10,000 samples. Prints seconds and processor seconds of `render`,
megabytes of the page, and figures drawn.
"""

import argparse
import tempfile
import time
from pathlib import Path

from harness.report.run_page import render
from tests.report.fake_run import Fake

RATIOS = (0, 0.05, 0.1, 0.25, 0.5)
TEACHERS = tuple(f"teacher {k}" for k in range(10))
RUNS = {
    "20 cells": Fake(axes={"domain_ratio": RATIOS, "architecture": ("dense", "2 experts")}, seeds=2),
    "73 cells": Fake(axes={"teacher": TEACHERS, "student": ("small", "mixed", "large")}, seeds=2),
    "200 cells": Fake(
        axes={"domain_ratio": RATIOS, "architecture": ("dense", "2 experts"), "teacher": TEACHERS[:4]}, seeds=5
    ),
    "200 rows": Fake(
        axes={
            "domain_ratio": RATIOS,
            "architecture": ("dense", "2 experts"),
            "teacher": TEACHERS,
            "method": ("sft", "kd"),
        },
        seeds=1,
    ),
    "10,000 samples": Fake(questions=700, tasks=150, seeds=1),
}


def main() -> None:
    """Render each run once and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(RUNS), help="one of the runs")
    parser.add_argument("--out", type=Path, help="keep the runs and reports here")
    arguments = parser.parse_args()
    print(f"{'run':<16}{'seconds':>9}{'CPU s':>9}{'MB':>8}{'figures':>9}")
    with tempfile.TemporaryDirectory() as scratch:
        for name, fake in RUNS.items():
            if arguments.only in (None, name):
                folder = fake.write((arguments.out or Path(scratch)) / name.replace(" ", "-"))
                begin, worked = time.perf_counter(), time.process_time()
                page = render(folder, folder)
                seconds, worked = time.perf_counter() - begin, time.process_time() - worked
                figures = len(list((folder / "figures").glob("*.svg")))
                print(
                    f"{name:<16}{seconds:>9.1f}{worked:>9.1f}{page.stat().st_size / 1e6:>8.2f}{figures:>9}", flush=True
                )


if __name__ == "__main__":
    main()
