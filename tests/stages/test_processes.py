"""One training in two processes is the training in one: the same curve, the same weights, stopped or not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from harness.core.errors import HarnessError
from harness.core.lines import read_lines
from harness.plan.build import build
from harness.recipe import load
from harness.stages.api import Session
from harness.stages.runner import read_order, run_stage, write_orders
from harness.store.store import Store
from harness.train.trainer import last_checkpoint

pytestmark = pytest.mark.slow  # each start of two processes imports torch and transformers three times

RECIPE = """\
student: pocket:llama?layers=2&width=32&heads=4&seed=0
teacher: {model: "pocket:llama?layers=1&width=48&heads=4&seed=9"}
data: {train: {pocket: {examples: 50}}}
train: [{kd: {lambda: 0.5, batch_size: 16, micro_batch_size: 4, learning_rate: 5e-3, epochs: 2, save_every: 2}}]
checkpoints: [0.5, 1]
evaluate: [{pocket: {questions: 8}}]
"""
Trained = Callable[..., Path]


def _run(folder: Path, *sets: str, progress: Callable[..., None] = lambda *_, **__: None) -> Path:
    """The finished train stage of the recipe; 50 rows are no whole number of batches."""
    (folder / "r.yaml").write_text(RECIPE)
    stage = build(load(folder / "r.yaml", sets)).cells[0].trained[-1].stage
    store = Store(folder / "store")
    for needed in (s for s in stage.walk() if not s.is_leaf):
        write_orders(store, [needed])
        run_stage(store, read_order(store, needed.id), Session(), progress)
    return store.path(stage.id)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _run(tmp_path_factory.mktemp("alone"))


def _same(out: Path, want: Path) -> None:
    for got, line in zip(read_lines(out / "log.jsonl"), read_lines(want / "log.jsonl"), strict=True):
        assert got == pytest.approx(line, rel=1e-4)
    for part in ("model", "checkpoint-0.5"):
        mine, theirs = (load_file(folder / part / "model.safetensors") for folder in (out, want))
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=2e-4)
        assert {p.name for p in (out / part).iterdir()} == {p.name for p in (want / part).iterdir()}


@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_two_processes_train_as_one(alone: Path, tmp_path: Path, sharding: str) -> None:
    told: list[Any] = []
    sets = f"resources={{processes: 2, sharding: {sharding}}}"
    out = _run(tmp_path, sets, progress=lambda done, total, unit, **_: told.append((done, total, unit)))
    _same(out, alone)
    assert [said for said in told if said[2] == "steps"] == [(n, 8, "steps") for n in range(1, 9)]
    assert out.name == alone.name, "how many processes is no part of what a stage is"


class _Stopped(Exception):
    pass


@pytest.mark.parametrize("stop", [5, 8])
@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_stopped_processes_go_on(alone: Path, tmp_path: Path, sharding: str, stop: int) -> None:
    """Stopped half-way or at the last step."""

    def stopping(done: int, total: int, unit: str, **_: Any) -> None:
        if unit == "steps" and done >= stop:
            raise _Stopped

    sets = f"resources={{processes: 2, sharding: {sharding}}}"
    with pytest.raises(_Stopped):
        _run(tmp_path, sets, progress=stopping)
    _same(_run(tmp_path, sets), alone)


def test_an_epoch_goes_on_with_the_examples_it_has_left(alone: Path, tmp_path: Path) -> None:
    """A file lies where the last checkpoint goes, so that the second start finds that of step 6, within epoch 2."""
    work = Store(tmp_path / "store").work(alone.name)
    (work / "checkpoint-8").touch()
    sets = ("resources={processes: 2}", "train.0.kd.save_every=3")
    with pytest.raises(RuntimeError, match="checkpoint-8"):
        _run(tmp_path, *sets)
    assert last_checkpoint(work) == str(work / "checkpoint-6")
    (work / "checkpoint-8").unlink()
    _same(_run(tmp_path, *sets), alone)


def test_a_fault_in_one_process_is_told(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="at step") as caught:
        _run(tmp_path, "resources={processes: 2}", "train.0.kd.learning_rate=1e30", "train.0.kd.max_grad_norm=1e30")
    assert "learning rate" in caught.value.fix
