"""Which models are at hand: installed, cached, made by stages."""

import json
from pathlib import Path, PurePosixPath

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.models import inventory


class File(PurePosixPath):
    """A file of an installed package."""

    def locate(self) -> PurePosixPath:
        return self


class Package:
    """An installed package with these files."""

    def __init__(self, name: str, *files: Path) -> None:
        self.name, self.files = name, [File(f) for f in files] or None


def test_a_gguf_inside_a_package_is_a_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"x" * 2**20)
    (tmp_path / "code.py").write_text("")
    packages = [Package("llm-tiny", tmp_path / "code.py", tmp_path / "tiny.gguf"), Package("empty")]
    monkeypatch.setattr("importlib.metadata.distributions", lambda: packages)
    assert inventory.installed() == [{"reference": "pypi:llm_tiny", "where": "installed package", "size_mb": 1.0}]


def test_a_package_whose_file_is_gone_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.distributions", lambda: [Package("half", tmp_path / "gone.gguf")])
    assert inventory.installed() == []


def test_models_of_the_hubs_cache_and_no_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("models--org--tiny", "datasets--org--facts"):
        folder = tmp_path / name / "snapshots" / ("a" * 40)
        folder.mkdir(parents=True)
        (tmp_path / name / "refs").mkdir()
        (tmp_path / name / "refs/main").write_text("a" * 40)
        (folder / "config.json").write_bytes(b"x" * 2**21)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.utils._cache_manager.HF_HUB_CACHE", str(tmp_path), raising=False)
    assert inventory.cached() == [{"reference": "hf:org/tiny", "where": "hub cache", "size_mb": 2.0}]


def test_no_cache_no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.setattr("huggingface_hub.utils._cache_manager.HF_HUB_CACHE", str(tmp_path / "none"), raising=False)
    assert inventory.cached() == []


def test_models_ls_lists_what_stages_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model in the store is listed by a reference that a recipe can use."""
    from harness.models.refs import parse, pin
    from harness.models.settings import ModelSettings
    from harness.stages.api import Session
    from harness.stages.model import weights
    from harness.stages.runner import read_order, run_stage, write_orders
    from harness.store.store import Store

    monkeypatch.setattr(inventory, "installed", list)
    monkeypatch.setattr(inventory, "cached", list)
    store = Store(tmp_path / "store")
    stage = weights(ModelSettings(model="pocket:llama?layers=1&width=64&heads=2"), {}).stage
    write_orders(store, [stage])
    run_stage(store, read_order(store, stage.id), Session(), lambda *_, **__: None)
    result = CliRunner().invoke(app, ["models", "ls", "--results", str(tmp_path), "--format", "json"])
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert row["where"] == "build pocket:llama?layers=1&width=64&heads=2"
    assert row["size_mb"] > 0
    assert pin(parse(row["reference"])).path == store.path(stage.id)


def test_data_ls_lists_files() -> None:
    result = CliRunner().invoke(app, ["data", "ls"])
    assert result.exit_code == 0
    assert result.stdout == "mt_bench: question.jsonl, judge_prompts.jsonl, reference_answer/gpt-4.jsonl\n"
