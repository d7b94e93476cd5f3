"""A training's curve in TensorBoard: the steps and losses of our own log, under the cell's name, in the store."""

from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.core.lines import read_lines
from harness.plan.build import build
from harness.recipe import load
from harness.recipe.faults import RecipeError
from harness.stages.api import Stage
from tests.stages.running import run

RECIPE = """\
student: pocket:llama?layers=1&width=16&heads=2&seed=0
data: {train: {pocket: {examples: 24}}}
train: [{sft: {batch_size: 8, micro_batch_size: 8, learning_rate: 1e-3}}]
evaluate: [{pocket: {questions: 8}}]
"""


def training(folder: Path, reporters: str) -> Stage:
    (folder / "r.yaml").write_text(RECIPE)
    sets = [f"train=[{{sft: {{batch_size: 8, micro_batch_size: 8, learning_rate: 1e-3, report_to: {reporters}}}}}]"]
    return build(load(folder / "r.yaml", sets)).cells[0].trained[-1].stage


def test_tensorboard_has_our_curve(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    stage = training(tmp_path, "[tensorboard]")
    log = list(read_lines(run(stage, tmp_path) / "log.jsonl"))
    (events,) = (tmp_path / "store/logs/tensorboard").iterdir()
    assert events.name.endswith(stage.id[:8])
    told = EventAccumulator(str(events)).Reload().Scalars("train/loss")
    assert [(e.step, pytest.approx(e.value)) for e in told] == [(line["step"], line["loss"]) for line in log]
    assert len(told) == 3


def test_it_is_no_part_of_what_a_training_is(tmp_path: Path) -> None:
    assert training(tmp_path, "[tensorboard, wandb]").id == training(tmp_path, "[]").id


def test_one_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.integrations.integration_utils.is_mlflow_available", lambda: False)
    with pytest.raises(HarnessError, match=r"report_to: mlflow is not installed\n  pip install mlflow"):
        run(training(tmp_path, "[mlflow]"), tmp_path)


def test_one_that_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="tensorboard"):
        training(tmp_path, "[tensorbord]")
