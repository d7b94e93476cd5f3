"""The load-balancing loss: its value, what it is over, and that it evens the load out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.core.errors import HarnessError
from harness.models.load import load_model
from harness.models.moe import upcycle
from harness.models.routing import router_logits
from harness.train.api import Batch, Loss
from harness.train.losses import IGNORED
from harness.train.router import balanced
from harness.train.steps.sft import sft_loss

Run = Callable[..., Path]
Curve = Callable[[Path], list[dict[str, float]]]


def leaning(dense: Any, experts: int) -> torch.Tensor:
    """A router that sends most tokens to its first experts."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(dense.config.num_hidden_layers, experts, dense.config.hidden_size, generator=generator)
    rows[:, 1:] *= 0.05
    with torch.no_grad():
        rows[:, 0] = 0.3 * dense.get_input_embeddings().weight.mean(dim=0).sign()
    return rows


@pytest.fixture(scope="module")
def sparse(pocket_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four copies, one for each token."""
    folder = tmp_path_factory.mktemp("sparse")
    upcycle(pocket_folder, [pocket_folder] * 4, folder, per_token=1, router=leaning)
    return folder


@pytest.fixture(scope="module")
def full(pocket_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two copies, both for every token."""
    folder = tmp_path_factory.mktemp("full")
    upcycle(pocket_folder, [pocket_folder] * 2, folder, per_token=2, router=leaning)
    return folder


def batch(width: int = 8) -> dict[str, torch.Tensor]:
    """Two conversations of 8 and 5 tokens, padded to `width`."""
    ids = torch.zeros(2, width, dtype=torch.int64)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
    for row, length in ((0, 8), (1, 5)):
        ids[row, :length] = torch.arange(10 + row, 10 + row + length)
        mask[row, :length] = 1
        labels[row, 3:length] = ids[row, 3:length]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def test_weight_0_is_the_objective_itself(pocket_folder: Path) -> None:
    assert balanced(sft_loss, 0.0, load_model(pocket_folder, "float32")) is sft_loss


def test_a_dense_student_is_told(pocket_folder: Path) -> None:
    with pytest.raises(HarnessError, match=r"router_loss is 0.01 and the student, a LlamaForCausalLM, has no experts"):
        balanced(sft_loss, 0.01, load_model(pocket_folder, "float32"))


def test_value_by_hand(sparse: Path) -> None:
    """E x sum of (share of visits) x (mean probability), layers together; as much again per response token."""
    student, given = load_model(sparse, "float32"), batch()
    loss = balanced(sft_loss, 0.5, student)(student, given)
    with router_logits(student) as found:
        plain = sft_loss(student, given).total
    real = given["attention_mask"].flatten().bool()
    chosen = torch.cat([one[real].argmax(dim=-1) for one in found])
    share = torch.bincount(chosen, minlength=4) / len(chosen)
    mass = torch.cat([one[real].softmax(dim=-1) for one in found]).mean(dim=0)
    want = 4 * float((share * mass).sum().detach())
    responses = 5 + 2
    assert want > 1.05, "the load is uneven here, else the test says little"
    assert float((loss.total - plain).detach()) == pytest.approx(0.5 * responses * want, rel=1e-4)
    value, count = loss.parts["router_loss"]
    assert count == responses
    assert value / count == pytest.approx(want, rel=1e-4)
    value, count = loss.parts["router_entropy"]
    assert count == 13
    assert 0 < value / count < 1.3863


def test_padding_has_no_say(sparse: Path) -> None:
    student = load_model(sparse, "float32")
    near, far = (balanced(sft_loss, 1.0, student)(student, batch(width)) for width in (8, 20))
    assert float(near.total.detach()) == pytest.approx(float(far.total.detach()), rel=1e-5)
    assert near.parts["router_entropy"] == pytest.approx(far.parts["router_entropy"], rel=1e-4)


def test_where_every_expert_is_visited_it_is_constant(full: Path) -> None:
    student = load_model(full, "float32")
    found = balanced(sft_loss, 1.0, student)(student, batch())
    assert found.parts["router_loss"][0] / found.parts["router_loss"][1] == pytest.approx(2.0, rel=1e-5)
    (found.total - sft_loss(student, batch()).total).backward()
    router: Any = dict(student.named_parameters())["model.layers.0.mlp.gate.weight"]
    assert float(router.grad.abs().max()) < 1e-4


def test_a_batch_without_responses_adds_nothing(sparse: Path) -> None:
    student, given = load_model(sparse, "float32"), batch()
    given["labels"] = torch.full_like(given["labels"], IGNORED)
    given["attention_mask"] = torch.zeros_like(given["attention_mask"])

    def nothing(model: Any, batch: Batch) -> Loss:
        model.base_model(input_ids=batch["input_ids"], use_cache=False)
        return Loss(torch.zeros(()), {"mine": (0.0, 0.0)})

    loss = balanced(nothing, 1.0, student)(student, given)
    assert (float(loss.total), dict(loss.parts)) == (0.0, {"mine": (0.0, 0.0)})


@pytest.mark.parametrize("kd", [None, {"lambda": 0.5}])
def test_training_evens_the_load_out(run: Run, curve: Curve, sparse: Path, kd: dict[str, Any] | None) -> None:
    how: dict[str, Any] = {"student": sparse, "epochs": 3.0, "learning_rate": 1e-2, "seed": 2}
    ignored, even = (curve(run(f"w{weight}", kd, **how, router_loss=weight)) for weight in (1e-9, 1.0))
    assert ignored[0]["router_loss"] == pytest.approx(even[0]["router_loss"]), "both start from the same router"
    assert even[0]["router_loss"] > 1.4
    assert even[-1]["router_loss"] < 1.1 < ignored[-1]["router_loss"]
    assert even[-1]["loss"] - even[-1]["router_loss"] == pytest.approx(ignored[-1]["loss"], abs=0.5)


def test_accumulated_parts_and_checkpointed_layers_give_one_curve(run: Run, curve: Curve, sparse: Path) -> None:
    """The mean over parts is weighted by response tokens; layers computed again are not read twice."""
    how: dict[str, Any] = {"student": sparse, "max_steps": 3, "router_loss": 0.1, "max_grad_norm": 1e9}
    first, again = (curve(run(f"c{on}", **how, gradient_checkpointing=on)) for on in (False, True))
    for want, got in zip(first, again, strict=True):
        assert got["loss"] == pytest.approx(want["loss"], rel=1e-5)
        assert got["grad_norm"] == pytest.approx(want["grad_norm"], rel=1e-4)
        assert got["router_loss"] == pytest.approx(want["router_loss"], rel=1e-5)


def test_bfloat16(run: Run, curve: Curve, sparse: Path) -> None:
    how: dict[str, Any] = {"student": sparse, "max_steps": 2, "router_loss": 0.1}
    want, got = (curve(run(dtype, **how, dtype=dtype))[0] for dtype in ("float32", "bfloat16"))
    assert got["router_loss"] == pytest.approx(want["router_loss"], rel=0.05)


def test_a_mixture_of_copies_has_nothing_to_learn_from_its_source(
    run: Run, curve: Curve, sparse: Path, pocket_folder: Path
) -> None:
    """Distillation with attention maps: both terms start at 0, and only the balance is left."""
    kd = {"w_attn": 1.0}
    how: dict[str, Any] = {"student": sparse, "teacher": pocket_folder, "max_steps": 2, "router_loss": 0.5}
    first = curve(run("taught", kd, **how))[0]
    assert first["loss/attention"] == pytest.approx(0, abs=1e-5)
    assert first["loss"] == pytest.approx(0.5 * first["router_loss"], rel=1e-3)
