"""Adapters: trained alone, merged at the end, and what cannot have any."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from harness.models.load import load_model
from harness.models.pocket import build, parse_spec
from harness.train.lora import add_adapters
from harness.train.saving import merged, write_model
from harness.train.settings import LoraSettings

Run = Callable[..., Path]
LORA = {"lora": {"rank": 4, "alpha": 16.0}}


def test_what_comes_out_is_a_plain_model(run: Run, pocket_folder: Path) -> None:
    out = run(**LORA)
    before, after = (load_file(folder / "model.safetensors") for folder in (pocket_folder, out / "model"))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "_proj" in name}
    for name in changed:
        assert torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-4) <= 4
    load_model(out / "model", "float32")


def test_adapters_learn(run: Run, curve: Callable[[Path], list[dict[str, float]]]) -> None:
    lines = curve(run(epochs=3.0, learning_rate=2e-2, **LORA))
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]


@pytest.mark.parametrize("spec", ["llama?layers=2&width=32&heads=4", "mixtral?layers=1&width=16&heads=2"])
def test_merged_weights_compute_the_same(tmp_path: Path, spec: str) -> None:
    build(parse_spec(spec), tmp_path / "base")
    settings = LoraSettings(rank=2, alpha=8.0)
    student = load_model(tmp_path / "base", "float32")
    add_adapters(student, settings)
    adapters = [w for name, w in student.named_parameters() if w.requires_grad]
    assert adapters, "something is trained"
    assert sum(w.numel() for w in adapters) < 0.2 * sum(w.numel() for w in student.parameters())
    with torch.no_grad():
        for weight in adapters:
            weight.normal_(std=0.3)
    write_model(student, settings, tmp_path / "base", tmp_path / "merged")
    plain = load_model(tmp_path / "merged", "float32")
    ids = torch.arange(4, 24)[None]
    torch.testing.assert_close(plain(input_ids=ids).logits, student(input_ids=ids).logits, rtol=1e-4, atol=1e-4)
    base = load_model(tmp_path / "base", "float32")
    assert not torch.allclose(plain(input_ids=ids).logits, base(input_ids=ids).logits, atol=1e-2)


def test_experts_and_routers_have_no_adapters(tmp_path: Path) -> None:
    build(parse_spec("mixtral?layers=1&width=16&heads=2"), tmp_path)
    student = load_model(tmp_path, "float32")
    add_adapters(student, LoraSettings())
    adapted = [name for name, weight in student.named_parameters() if weight.requires_grad]
    assert adapted
    assert all(".self_attn." in name for name in adapted)


def test_merging_by_hand() -> None:
    """W + scale * B A of two by two."""
    state = {
        "q.base_layer.weight": torch.eye(2),
        "q.lora_A.default.weight": torch.tensor([[1.0, 2.0]]),
        "q.lora_B.default.weight": torch.tensor([[3.0], [0.0]]),
        "q.base_layer.bias": torch.ones(2),
        "norm.weight": torch.ones(2),
    }
    got = merged(state, 0.5)
    assert got.keys() == {"q.weight", "q.bias", "norm.weight"}
    assert got["q.weight"].tolist() == [[2.5, 3.0], [0.0, 1.0]]


class _Stopped(Exception):
    pass


def test_stopped_run_goes_on_to_the_same_bytes(run: Run) -> None:
    def stopping(done: int, *_: Any, **__: Any) -> None:
        if done == 5:
            raise _Stopped

    given: dict[str, Any] = {
        "epochs": 2.0,
        "save_every": 2,
        "checkpoints": (0.5, 1.0),
        "lora": {"rank": 4, "dropout": 0.1},
    }
    whole = run("whole", **given)
    with pytest.raises(_Stopped):
        run("stopped", **given, progress=stopping)
    resumed = run("stopped", **given)
    for part in ("model", "checkpoint-0.5"):
        mine, theirs = ((out / part / "model.safetensors").read_bytes() for out in (resumed, whole))
        assert mine == theirs
