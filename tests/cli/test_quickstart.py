"""The quickstart's science: what is planted is seen, and what is not settled is not called."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.command import harness

RECIPE = Path(__file__).parents[2] / "recipes/quickstart.yaml"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quickstart")
    done = harness("run", RECIPE, "--jobs", 2, "--results", folder)
    assert done.returncode == 0, done.stderr
    return folder


def compared(results: Path, baseline: str) -> pd.DataFrame:
    """The differences from a baseline."""
    done = harness("compare", "quickstart", "--results", results, "--baseline", baseline, "--format", "json")
    assert done.returncode == 0, done.stderr
    return pd.DataFrame(json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_four_times_the_data_helps(results: Path) -> None:
    """On any processor, and whatever is drawn: that three draws suffice to call it is another matter."""
    found = compared(results, "data=x1")
    assert set(found["cell"]) == {"strong · sft · x4"}
    assert (found["difference"] > 0).all()
    assert (found["drawn"] == "3 trainings, 3 teachers, 3 samples of data").all()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_what_is_not_settled_is_not_called(results: Path) -> None:
    """KD against SFT is some +2 with a spread of 3 between draws: three draws cannot tell."""
    found = compared(results, "method=sft")
    assert set(found["cell"]) == {"strong · kd · x1", "weak · kd · x1"}
    assert not set(found["verdict"]) & {"better", "worse"}
