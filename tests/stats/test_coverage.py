"""Two thousand simulated experiments a structure: intervals that cover, tests that hold their level."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "coverage.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coverage_study", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_intervals_cover_and_tests_hold_their_level() -> None:
    chosen = {"clustered t", "Wilson, effective size", "widest of three", "paired, widest of three", "Holm"}
    wrong = []
    for finding in load().study(2000):
        if finding.method not in chosen or (finding.method == "clustered t" and "right" in finding.structure):
            continue
        # With 2 seeds the seed variance is a guess from one number: the interval errs on the wide side.
        low, high = (93, 99.5 if "2 seeds" in finding.structure else 97.5)
        if finding.measure == "any false positive":
            low, high = 0, 6
        if not low <= finding.percent <= high:
            wrong.append(finding)
    assert not wrong
