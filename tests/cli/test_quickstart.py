"""The quickstart's science: what is planted is found, and what is not there is not."""

import json
from pathlib import Path

import pytest

from tests.cli.command import harness

RECIPE = Path(__file__).parents[2] / "recipes/quickstart.yaml"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quickstart")
    done = harness("run", RECIPE, "--jobs", 2, "--results", folder)
    assert done.returncode == 0, done.stderr
    return folder


def verdicts(results: Path, baseline: str) -> dict[tuple[str, str], str]:
    """(cell, metric) -> verdict against a baseline."""
    done = harness("compare", "quickstart", "--results", results, "--baseline", baseline, "--format", "json")
    assert done.returncode == 0, done.stderr
    return {(row["cell"], row["metric"]): row["verdict"] for row in json.loads(done.stdout)}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_four_times_the_data_is_better(results: Path) -> None:
    found = verdicts(results, "data=x1")
    assert found["strong · sft · x4", "pocket general score"] == "better"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_what_is_not_settled_is_not_called(results: Path) -> None:
    """KD against SFT is some +2 with a spread of 3 between draws: three draws cannot tell."""
    found = verdicts(results, "method=sft")
    assert {key[0] for key in found} == {"strong · kd · x1", "weak · kd · x1"}
    assert "worse" not in found.values(), found
