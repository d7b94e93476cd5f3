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
def test_seeds_of_one_cell_are_not_called_different(results: Path) -> None:
    found = verdicts(results, "teacher=strong,method=sft,data=x1,seed=0")
    twins = {key: verdict for key, verdict in found.items() if key[0].startswith("strong · sft · x1")}
    assert len(twins) == 4, "two other seeds, two metrics"
    assert not {"better", "worse"} & set(twins.values()), twins
