"""Models kept on the way, learning rates chosen on held-out data, trainers of the user's: from recipe to artifact."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.core.canonical import file_digest
from harness.core.errors import HarnessError
from harness.core.lines import read_lines
from harness.models.load import load_model
from harness.plan.build import Plan, build
from harness.recipe import load
from harness.record.collect import collect
from harness.record.folder import RunFolder
from harness.stages import pinned
from harness.stages.api import Session, Stage
from harness.stages.runner import read_order, run_stage, write_orders
from harness.store.store import Store

RECIPE = """\
student: pocket:llama?layers=1&width=16&heads=2&seed=0
data: {train: {pocket: {examples: 40}}}
train: [{sft: {batch_size: 8, micro_batch_size: 8, learning_rate: 5e-3, save_every: 2}}]
evaluate: [{pocket: {questions: 8}}]
"""
Planned = Callable[..., Plan]


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    def _planned(*sets: str) -> Plan:
        (tmp_path / "r.yaml").write_text(RECIPE)
        return build(load(tmp_path / "r.yaml", sets))

    return _planned


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Stage], Path]:
    """Runs a stage and what it stands on; its artifact."""

    def _run(stage: Stage) -> Path:
        store = Store(tmp_path / "store")
        for needed in (s for s in stage.walk() if not s.is_leaf):
            write_orders(store, [needed])
            run_stage(store, read_order(store, needed.id), Session(), lambda *_, **__: None)
        return store.path(stage.id)

    return _run


Run = Callable[[Stage], Path]


def test_checkpoints_are_an_axis_of_one_training(planned: Planned) -> None:
    sets = ("seed=$seed", "axes={seed: [0, 1]}", "baselines=[student]")
    plan = planned(*sets, "checkpoints=[0.25, 0.5, 1]")
    assert plan.recipe.axes == {"seed": ["0", "1"], "checkpoint": ["0.25", "0.5", "1"]}
    assert plan.recipe.summary == "ok, 6 cells (seed 2 x checkpoint 3), 1 baseline"
    first = plan.cells[:3]
    assert [c.name for c in first] == [f"seed=0,checkpoint={f}" for f in ("0.25", "0.5", "1")]
    assert len({c.trained[-1].stage.id for c in first}) == 1
    assert first[0].trained[-1].stage.title == "sft seed=0"
    assert [c.model.part for c in first] == ["checkpoint-0.25", "checkpoint-0.5", "model"]
    assert len({e.score.id for c in first for e in c.evaluated}) == 3
    assert plan.cells[-1].cell.labels == {}
    end = planned(*sets).cells[0]
    assert (end.name, end.model.part) == ("seed=0", "model")
    assert end.trained[-1].stage.id != first[0].trained[-1].stage.id


def test_only_the_last_step_keeps_checkpoints(planned: Planned) -> None:
    plan = planned("checkpoints=[0.5, 1]", "train=[{sft: {}}, {sft: {}}]")
    kept = [trained.stage.params["checkpoints"] for trained in plan.cells[0].trained]
    assert kept == [[1.0], [0.5, 1.0]]


def test_what_is_kept_is_the_model_at_that_step(planned: Planned, run: Run) -> None:
    """The schedule is that of the whole training: a training of half the steps is another model."""
    cells = planned("checkpoints=[0.4, 1]", "train.0.sft.schedule=constant").cells
    out = run(cells[0].trained[-1].stage)
    assert sorted(p.name for p in out.iterdir() if p.is_dir()) == ["checkpoint-0.4", "model"]
    short = run(planned("train.0.sft.schedule=constant", "train.0.sft.max_steps=2").cells[0].trained[-1].stage)
    files = [out / "checkpoint-0.4", short / "model", out / "model"]
    at_2, two_steps, end = ((folder / "model.safetensors").read_bytes() for folder in files)
    assert at_2 == two_steps != end
    load_model(out / "checkpoint-0.4", "float32")
    run(cells[0].evaluated[0].score)


def test_the_mean_of_what_is_kept_is_one_more_row(planned: Planned, run: Run) -> None:
    """Its weights are the mean in float64; tokenizer and config are those of the last model, and it is scored."""
    plain = planned("checkpoints=[0.4, 0.8, 1]").cells[0]
    cells = planned("checkpoints=[0.4, 0.8, 1, mean]").cells
    assert cells[-1].cell.labels == {"checkpoint": "mean"}
    assert cells[-1].trained[-1].stage.id == plain.trained[-1].stage.id, "a finished training can be averaged"
    out, mean = run(plain.trained[-1].stage), run(cells[-1].model.stage) / "model"
    state = {
        part: load_file(out / part / "model.safetensors") for part in ("checkpoint-0.4", "checkpoint-0.8", "model")
    }
    for name, weight in load_file(mean / "model.safetensors").items():
        expected = sum(of[name].double() for of in state.values()) / 3
        assert torch.equal(weight, expected.float()), name
    assert (mean / "tokenizer.json").read_bytes() == (out / "model/tokenizer.json").read_bytes()
    load_model(mean, "float32")
    run(cells[-1].evaluated[0].score)


def test_a_step_may_make_the_mean_of_its_last_models(planned: Planned, run: Run) -> None:
    averaged = planned("train.0.sft.average=[0.4, 0.8, 1]").cells[0]
    row = planned("checkpoints=[0.4, 0.8, 1, mean]").cells[-1]
    assert averaged.model.stage.id == row.model.stage.id
    assert averaged.trained[-1].stage.kind == "train"
    steps = planned("train=[{sft: {average: [0.5, 1]}}, {sft: {average: [0.9, 1]}}]").cells[0]
    assert steps.trained[1].stage.inputs["student"].kind == "average"
    assert steps.trained[1].stage.inputs["tokens:0"].id == steps.trained[0].stage.inputs["tokens:0"].id
    run(steps.evaluated[0].score)


def test_a_mean_after_a_choice_is_of_the_chosen_training(planned: Planned, run: Run) -> None:
    cell = planned(SELECT, "train.0.sft.average=[0.5, 1]").cells[0]
    chosen = cell.trained[-1].stage
    assert cell.model.stage.inputs["model"].id == chosen.id
    assert (run(cell.model.stage) / "model/model.safetensors").stat().st_size > 0


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (["checkpoints=[mean]"], "of the models at two fractions or more"),
        (["checkpoints=[mean, 0.5, 1]"], "is given once, after the fractions"),
        (["checkpoints=[0.5, 1, mean, mean]"], "is given once, after the fractions"),
        (["train.0.sft.average=[1, 0.5]"], "ascending order"),
        (["train.0.sft.average=[1]"], "at least 2"),
        (["train.0.sft.average=[0.5, 1]", "checkpoints=[0.5, 1]"], "leave `average` out"),
    ],
)
def test_a_mean_that_cannot_be_is_told(planned: Planned, sets: list[str], told: str) -> None:
    with pytest.raises(HarnessError, match=told):
        planned(*sets)


SELECT = "train.0.sft.select={learning_rate: [1e-6, 1e-2, 1e-2], held_out: 0.25}"


def test_the_lowest_held_out_loss_is_chosen(planned: Planned, run: Run, tmp_path: Path) -> None:
    plan = planned(SELECT, "checkpoints=[0.5, 1]")
    cell = plan.cells[1]
    out = run(cell.trained[-1].stage)
    said = json.loads((out / "select.json").read_text())
    losses = [one["held_out_loss"] for one in said["candidates"]]
    assert [one["learning_rate"] for one in said["candidates"]] == [1e-6, 1e-2, 1e-2]
    assert losses[0] > losses[1] == losses[2]
    assert said["chosen"] == {"learning_rate": 1e-2}
    chosen = run(cell.trained[-1].stage.inputs["candidate:1"])
    for part in ("model", "checkpoint-0.5"):
        assert (out / part / "model.safetensors").samefile(chosen / part / "model.safetensors")
    summary = json.loads((out / "training.json").read_text())
    assert (summary["trained_rows"], summary["held_out_rows"]) == (30, 10)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    record = collect(folder, plan, Store(tmp_path / "store"))
    rows = [(row.cell, row.chosen) for row in record.training]
    assert rows == [("checkpoint=0.5", {"learning_rate": 1e-2}), ("checkpoint=1", {"learning_rate": 1e-2})]


def test_equal_losses_keep_the_first(planned: Planned, run: Run) -> None:
    out = run(planned("train.0.sft.select={learning_rate: [1e-3, 1e-3]}").cells[0].trained[-1].stage)
    losses = [one["held_out_loss"] for one in json.loads((out / "select.json").read_text())["candidates"]]
    assert losses[0] == losses[1]


def test_candidates_and_cells_hold_out_the_same(planned: Planned) -> None:
    plan = planned(SELECT, "seed=$seed", "axes={seed: [0, 1]}")
    asked = [s.params["held_out"] for s in plan.stages.values() if s.kind == "train"]
    assert asked == [{"share": 0.25, "seed": 0}] * 4  # two candidates of the three are one training
    others = planned(SELECT, "data_seed=3").stages.values()
    assert {s.params["held_out"]["seed"] for s in others if s.kind == "train"} == {3}


SCRIPT = """\
import json, os, pathlib, shutil, sys
student, data, out, seed = sys.argv[1:]
rows = [json.loads(line) for line in open(data)]
assert len(rows) == 40 and rows[0]["messages"][-1]["role"] == "assistant"
print("seed", seed, "key", os.environ.get("OPENAI_API_KEY"), "path" if os.environ.get("PATH") else "")
shutil.copytree(student, out)
"""


def _command(tmp_path: Path, script: str) -> tuple[str, ...]:
    (tmp_path / "my trainer.py").write_text(script)
    command = f"python3 '{tmp_path}/my trainer.py' {{student}} {{data}} {{out}} {{seed}}"
    step = {"run": command, "files": [str(tmp_path / "my trainer.py")]}
    return (f"train=[{{command: {json.dumps(step)}}}]",)


def test_a_command_trains(planned: Planned, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    plan = planned(*_command(tmp_path, SCRIPT))
    cell = plan.cells[0]
    out = run(cell.trained[-1].stage)
    load_model(out / "model", "float32")
    log = (out / "command.log").read_text()
    assert log.startswith("seed ")
    assert log.endswith("key None path\n")
    assert os.environ["OPENAI_API_KEY"] == "sk-secret"
    scores = run(cell.evaluated[0].score)
    assert scores.exists()
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    record = collect(folder, plan, Store(tmp_path / "store"))
    assert [(row.step, row.rows, row.steps) for row in record.training] == [("1 command", 40, None)]


def test_a_command_is_known_by_its_line_and_its_files(
    planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinned, "_file_digest", file_digest)  # read again, where a run reads each file once

    def made(script: str, *sets: str) -> str:
        return planned(*_command(tmp_path, script), *sets).cells[0].trained[-1].stage.id

    first = made(SCRIPT)
    assert made(SCRIPT) == first
    assert made(SCRIPT + "# changed") != first
    assert made(SCRIPT, "seed=1") != first
    assert made(SCRIPT, "data.train.pocket.examples=41") != first


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("import sys; print('no luck'); sys.exit(3)", "the command ended with code 3"),
        ("print('no luck')", "is no model: no such model folder"),
        (f"{SCRIPT}\nos.remove(out + '/tokenizer.json'); print('no luck')", "is no model: .*tokenizer.json missing"),
        (f"{SCRIPT}\nos.remove(out + '/model.safetensors'); print('no luck')", "is no model: no safetensors"),
        (f"{SCRIPT}\nopen(out + '/config.json', 'w').write('[]'); print('no luck')", "is no model"),
    ],
)
def test_a_command_that_makes_no_model_is_told_with_its_log(
    planned: Planned, run: Run, tmp_path: Path, script: str, what: str
) -> None:
    with pytest.raises(HarnessError, match=what) as caught:
        run(planned(*_command(tmp_path, script)).cells[0].trained[-1].stage)
    assert "no luck" in caught.value.fix


def test_a_command_that_is_not_there_is_told(planned: Planned, run: Run) -> None:
    stage = planned("train=[{command: {run: 'no-such-program {out}'}}]").cells[0].trained[-1].stage
    with pytest.raises(HarnessError, match="ended with code 127") as caught:
        run(stage)
    assert "no-such-program" in caught.value.fix
    assert list(read_lines(run(stage.inputs["data"]) / "conversations.jsonl"))
