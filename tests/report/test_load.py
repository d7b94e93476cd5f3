import json
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from harness.core.errors import HarnessError
from harness.record.run import as_json
from harness.report.load import load_run


def test_reads_a_run(run_folder: Path) -> None:
    run = load_run(run_folder)
    assert run.name == "pocket-teachers"
    assert run.axes["seed"] == ("0", "1", "2")
    assert len(run.cells) == 14
    assert run.cells[2].labels == {"teacher": "large", "method": "sft", "seed": "0"}
    assert run.samples["value"].dtype == "float64"
    assert {m.role for m in run.metrics} == {"general", "domain"}


def test_a_folder_that_is_no_run_says_so(fake_run: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"no run\.json"):
        load_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(HarnessError, match="broken JSON"):
        load_run(tmp_path)
    record = as_json(fake_run.a_record())
    (tmp_path / "run.json").write_text(json.dumps({key: value for key, value in record.items() if key != "metrics"}))
    with pytest.raises(HarnessError, match="has no metrics"):
        load_run(tmp_path)


@pytest.mark.parametrize("name", ["samples.parquet", "scores.parquet"])
def test_a_missing_table_is_named(fake_run: ModuleType, tmp_path: Path, name: str) -> None:
    folder = fake_run.Fake(questions=8, tasks=4, seeds=1).write(tmp_path)
    (folder / name).unlink()
    with pytest.raises(HarnessError, match=name):
        load_run(folder)


def test_a_table_without_a_column_is_named(fake_run: ModuleType, tmp_path: Path) -> None:
    folder = fake_run.Fake(questions=8, tasks=4, seeds=1).write(tmp_path)
    pd.read_parquet(folder / "scores.parquet").drop(columns="stderr").to_parquet(folder / "scores.parquet")
    with pytest.raises(HarnessError, match="has no column stderr"):
        load_run(folder)


def test_curves_and_transcripts_may_be_absent(fake_run: ModuleType, tmp_path: Path) -> None:
    folder = fake_run.Fake(questions=8, tasks=4, seeds=1).write(tmp_path)
    (folder / "curves.parquet").unlink()
    (folder / "transcripts.parquet").unlink()
    run = load_run(folder)
    assert run.curves.empty
    assert run.transcripts.empty


def test_the_recipes_report_settings_are_used_and_faults_named(fake_run: ModuleType, tmp_path: Path) -> None:
    folder = fake_run.Fake(questions=8, tasks=4, seeds=1).write(tmp_path)
    text = (folder / "recipe.yaml").read_text()
    (folder / "recipe.yaml").write_text(text + "report: {coverage_floor: 0.9, matters: {score: 0.5}}\n")
    run = load_run(folder)
    assert run.settings.coverage_floor == 0.9
    assert run.settings.matters == {"score": 0.5}
    (folder / "recipe.yaml").write_text(text + "report: {floor: 0.9}\n")
    with pytest.raises(HarnessError, match="report settings"):
        load_run(folder)


def test_an_unknown_key_of_a_later_version_is_ignored(fake_run: ModuleType, tmp_path: Path) -> None:
    folder = fake_run.Fake(questions=8, tasks=4, seeds=1).write(tmp_path)
    record = json.loads((folder / "run.json").read_text())
    record["judges"][0]["mood"] = "mild"
    record["later"] = 1
    (folder / "run.json").write_text(json.dumps(record))
    assert load_run(folder).judges[0].judge == "a-judge-model"
