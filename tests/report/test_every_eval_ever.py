"""Records of Every Eval Ever: what a report says, in the schema's words; its own validator takes them."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.report.every_eval_ever import write_records
from harness.report.groups import single
from harness.report.load import load_run
from harness.report.measure import Measures
from tests.report.fake_run import Fake

PACKAGE = "every-eval-ever==0.3.0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a failed cell."""
    fake = Fake(questions=8, tasks=8, seeds=2, failed={"teacher=large,method=kd,seed=1": "no memory"})
    return fake.write(tmp_path_factory.mktemp("run"))


def test_a_record_for_each_cell_with_a_score(folder: Path, tmp_path: Path) -> None:
    run = load_run(folder)
    files = write_records(run, tmp_path, "a-lab")
    assert len(files) == len([cell for cell in run.cells if not cell.failed])
    assert write_records(run, tmp_path, "a-lab") == files, "the same files again"
    (path,) = (file for file in files if file.parent.name == "teacher-large-method-kd-seed-0")
    assert path.is_relative_to(tmp_path / "data/pocket-teachers/pocket-teachers")
    record: dict[str, Any] = json.loads(path.read_text())
    assert record["source_metadata"]["source_organization_name"] == "a-lab"
    assert record["eval_library"]["name"] == "harness"
    results = {result["evaluation_result_id"]: result for result in record["evaluation_results"]}
    assert results.keys() == {"mt_bench.score", "pocket.general", "pocket.domain"}
    cell = next(cell for cell in run.cells if cell.cell == "teacher=large,method=kd,seed=0")
    estimate = Measures(run).estimate(single(cell), run.metrics[0])
    assert estimate is not None
    details = results["mt_bench.score"]["score_details"]
    interval = details["uncertainty"]["confidence_interval"]
    assert (details["score"], interval["lower"], interval["upper"]) == (estimate.value, estimate.low, estimate.high)
    assert "the judge is not calibrated" in details["details"]["marks"]
    config = results["mt_bench.score"]["metric_config"]
    assert config["additional_details"]["judge"] == "a-judge-model"
    assert config["lower_is_better"] is False
    assert results["mt_bench.score"]["source_data"]["hf_repo"] == "HuggingFaceH4/mt_bench_prompts"
    assert results["pocket.domain"]["source_data"] == {"dataset_name": "pocket", "source_type": "other"}


@pytest.mark.slow
def test_their_validator_takes_them(folder: Path, tmp_path: Path) -> None:
    python = next(filter(None, map(shutil.which, ("python3.12", "python3.13", "python3.14"))), None)
    if python is None:
        pytest.skip("the validator needs Python 3.12 or newer, and there is none on the path")
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    installed = subprocess.run(
        [tmp_path / "venv/bin/pip", "install", "--quiet", PACKAGE], capture_output=True, text=True
    )
    if installed.returncode:
        pytest.skip(f"no package index gives {PACKAGE}: {installed.stderr.strip().splitlines()[-1]}")
    write_records(load_run(folder), tmp_path / "records")
    files = (tmp_path / "records").rglob("*.json")
    done = subprocess.run([tmp_path / "venv/bin/every_eval_ever", "validate", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
