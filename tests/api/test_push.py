"""An exported folder on the hub: one commit of a repository that is made for it, and refusals in a line."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants, parse_eval_result_entries

from harness.api.exported import push
from harness.core.errors import HarnessError
from harness.report.load import load_run
from harness.report.model_card import eval_results
from tests.report.fake_run import Fake
from tests.worlds.hub import Hub, serving

FILES = {"README.md": b"---\ntags: [distillation]\n---\n# A card\n", "model.safetensors": b"weights" * 99}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "a-token")
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / ".eval_results").mkdir()
    (tmp_path / ".eval_results/harness.yaml").write_text("[]")
    return tmp_path


def test_a_folder_is_one_commit_of_a_new_repository(hub: Hub, folder: Path) -> None:
    address = push(folder, "org/student")
    repository = hub.repositories["models/org/student"]
    assert repository.commits[-1] == {**FILES, ".eval_results/harness.yaml": b"[]"}
    assert address == f"{hub.url}/models/org/student/commit/{repository.sha(1)}"
    (folder / "README.md").write_bytes(b"# Another\n")
    push(folder, "org/student")
    assert repository.commits[-1]["README.md"] == b"# Another\n", "a repository that is there gets a commit"


def test_refusals_are_told_with_the_remedy(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HarnessError, match="is no name of a repository"):
        push(folder, "student")
    hub.read_only = True
    with pytest.raises(HarnessError, match="the token may not write there"):
        push(folder, "org/student")
    assert not hub.repositories
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(HarnessError, match="the hub wants a token"):
        push(folder, "org/student")


def test_a_hub_that_cannot_be_reached(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "a-token")
    with pytest.raises(HarnessError, match="hf upload org/student"):
        push(folder, "org/student")


def test_scores_are_filed_under_the_hubs_dataset_with_their_judge(tmp_path: Path) -> None:
    run = load_run(Fake(questions=8, tasks=8, seeds=1).write(tmp_path))
    cell = next(cell for cell in run.cells if not cell.baseline)
    (entry,) = parse_eval_result_entries(yaml.safe_load(eval_results(run, cell)))
    assert (entry.dataset_id, entry.task_id) == ("HuggingFaceH4/mt_bench_prompts", "score")
    score = run.scores.query("cell == @cell.cell and benchmark == 'mt_bench' and category == 'overall'")
    assert entry.value == pytest.approx(score["value"].item(), abs=1e-6)
    assert entry.notes is not None
    assert "judge a-judge-model" in entry.notes
    assert "95 % interval" in entry.notes
    pocket = replace(run, metrics=tuple(m for m in run.metrics if m.benchmark == "pocket"))
    assert eval_results(pocket, cell) == "", "a benchmark that the hub does not have is not filed"
