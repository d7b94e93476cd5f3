"""Gemma 2, which bounds its logits and its attention scores, learns and teaches as transformers computes it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.core.errors import HarnessError
from harness.models.load import load_model, load_tokenizer, output_head
from harness.train.losses import IGNORED, live_teacher, response_logprobs, response_states
from harness.train.steps.kd import KDSettings, kd_loss
from harness.train.steps.sft import sft_loss
from tests.models import gemma2

Run = Callable[..., Path]


@pytest.fixture
def student(tmp_path: Path) -> Any:
    return load_model(gemma2.write(tmp_path / "student"), "float32").double()


@pytest.fixture
def teacher(tmp_path: Path) -> Any:
    return load_model(gemma2.write(tmp_path / "teacher", seed=1), "float32").double().requires_grad_(False)


@pytest.fixture
def batch(student: Any) -> dict[str, torch.Tensor]:
    """Three rows, longer than the window; the last is padded."""
    g = torch.Generator().manual_seed(0)
    ids = torch.randint(5, student.config.vocab_size, (3, 12), generator=g)
    mask = torch.ones_like(ids)
    mask[2, 8:] = 0
    labels = torch.where((torch.rand(ids.shape, generator=g) < 0.6) & (mask > 0), ids, IGNORED)
    labels[:, 0] = IGNORED
    return {"input_ids": ids * mask, "attention_mask": mask, "labels": labels}


def logits(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """transformers' logits (N, V) that predict the response tokens."""
    given = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    picked: torch.Tensor = given[batch["labels"][:, 1:] != IGNORED]
    return picked


def gradient(total: torch.Tensor, model: Any) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, list(model.parameters()))])


def close(got: torch.Tensor, want: torch.Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


def test_caps_bend_the_logits_of_the_tests_model(student: Any, batch: dict[str, torch.Tensor]) -> None:
    """Else no test here could tell that a cap is left out."""
    states, head = response_states(student, batch), output_head(student)
    assert head.cap == 3.0 < (states @ head.weight.T).detach().abs().max()
    eager = logits(student, batch)
    torch.testing.assert_close(head.logits(states), eager.float(), rtol=1e-5, atol=1e-5)
    student.set_attn_implementation("sdpa")
    assert float((logits(student, batch) - eager).abs().max()) > 0.1


def test_sft_is_transformers_own_loss(student: Any, batch: dict[str, torch.Tensor]) -> None:
    mine = sft_loss(student, batch).total
    tokens = batch["labels"][:, 1:][batch["labels"][:, 1:] != IGNORED]
    theirs = torch.nn.functional.cross_entropy(logits(student, batch), tokens, reduction="sum")
    want = gradient(theirs, student)
    close(mine, theirs)
    close(gradient(mine, student), want)
    kept = -response_logprobs(student, batch).sum()
    torch.testing.assert_close(kept.double(), theirs, rtol=1e-5, atol=1e-5)  # in float32
    torch.testing.assert_close(gradient(kept, student), want, rtol=1e-4, atol=1e-4)


def test_kd_is_the_divergence_of_transformers_logits(
    student: Any, teacher: Any, batch: dict[str, torch.Tensor]
) -> None:
    settings = KDSettings.model_validate({"lambda": 1.0, "temperature": 2.0})
    mine = kd_loss(settings, {"teacher": live_teacher(teacher)}, student.config.vocab_size)(student, batch).total
    log_p, log_q = ((logits(model, batch) / 2.0).log_softmax(-1) for model in (teacher, student))
    theirs = 4.0 * (log_p.exp() * (log_p - log_q)).sum()
    close(mine, theirs)
    close(gradient(mine, student), gradient(theirs, student))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_training_goes_through(run: Run, curve: Any, tmp_path: Path, checkpointing: bool) -> None:
    folders = [gemma2.write(tmp_path / name, seed) for seed, name in enumerate(("one", "two"))]
    settings = {"epochs": 4.0, "gradient_checkpointing": checkpointing}
    out = run("gemma2", {"lambda": 0.5}, student=folders[0], teacher=folders[1], **settings)
    losses = [line["loss"] for line in curve(out)]
    assert losses[-1] < losses[0]
    assert load_tokenizer(out / "model").get_vocab() == load_tokenizer(folders[0]).get_vocab()
    assert output_head(load_model(out / "model", "float32")).cap == 3.0


def test_attention_maps_of_capped_scores_are_refused(
    student: Any, teacher: Any, batch: dict[str, torch.Tensor]
) -> None:
    settings = KDSettings.model_validate({"lambda": 1.0, "w_attn": 1.0})
    objective = kd_loss(settings, {"teacher": live_teacher(teacher)}, student.config.vocab_size)
    with pytest.raises(HarnessError, match="softcap"):
        objective(student, batch)
