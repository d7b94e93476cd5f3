from pathlib import Path
from typing import Any

import pytest
import torch

from harness.models.load import load_model, load_tokenizer, output_head
from harness.models.pocket import build, parse_spec
from harness.train.examples import collate, encode_file
from harness.train.losses import IGNORED, kd_loss, sft_loss

torch.set_num_threads(1)


@pytest.fixture
def batch(pocket_folder: Path, conversations: Path) -> dict[str, torch.Tensor]:
    return collate(encode_file(conversations, load_tokenizer(pocket_folder), 512).examples[:6])


@pytest.fixture
def student(pocket_folder: Path) -> Any:
    return load_model(pocket_folder, "float32")


@pytest.fixture
def teacher(teacher_folder: Path) -> Any:
    return load_model(teacher_folder, "float32").requires_grad_(False)


def _gradient(loss: torch.Tensor, model: Any) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def _logits(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that predict response tokens, and these tokens, by plain slicing."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    targets = batch["labels"][:, 1:]
    return logits[targets != IGNORED], targets[targets != IGNORED]


def test_sft_is_transformers_own_loss(student: Any, batch: dict[str, torch.Tensor]) -> None:
    mine = sft_loss(student, batch)
    theirs = student(**batch).loss * (batch["labels"][:, 1:] != IGNORED).sum()
    torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(_gradient(mine, student), _gradient(theirs, student), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("lambda_", "temperature"), [(1.0, 1.0), (0.3, 2.0), (0.0, 1.0)])
def test_kd_is_the_formula(
    student: Any, teacher: Any, batch: dict[str, torch.Tensor], lambda_: float, temperature: float
) -> None:
    mine = kd_loss(teacher, lambda_, temperature, words=140)(student, batch)
    logits, targets = _logits(student, batch)
    p = torch.softmax(_logits(teacher, batch)[0] / temperature, -1)
    log_q = torch.log_softmax(logits / temperature, -1)
    divergence = (p * (p.log() - log_q)).sum()
    cross_entropy = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    want = (1 - lambda_) * cross_entropy + lambda_ * temperature**2 * divergence
    torch.testing.assert_close(mine, want, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(_gradient(mine, student), _gradient(want, student), rtol=1e-3, atol=1e-4)


def test_teacher_that_is_the_student_teaches_nothing(student: Any, batch: dict[str, torch.Tensor]) -> None:
    assert kd_loss(student, 1.0, 1.0, words=140)(student, batch).item() == pytest.approx(0, abs=1e-4)


def test_rows_beyond_the_vocabulary_take_no_part(student: Any, teacher: Any, batch: dict[str, torch.Tensor]) -> None:
    words = len(output_head(teacher))
    plain = kd_loss(teacher, 1.0, 1.0, words)(student, batch)
    teacher.resize_token_embeddings(words + 20, mean_resizing=False)
    with torch.no_grad():
        output_head(teacher)[words:] = 100.0
    torch.testing.assert_close(kd_loss(teacher, 1.0, 1.0, words)(student, batch), plain)


def test_batch_without_a_response_adds_nothing(student: Any, teacher: Any, batch: dict[str, torch.Tensor]) -> None:
    empty = {**batch, "labels": torch.full_like(batch["labels"], IGNORED)}
    for objective in (sft_loss, kd_loss(teacher, 0.5, 1.0, 140)):
        loss = objective(student, empty)
        assert loss.item() == 0
        loss.backward()
        assert all(w.grad is None or not w.grad.any() for w in student.parameters())


def test_no_logits_of_all_positions(student: Any, teacher: Any, batch: dict[str, torch.Tensor]) -> None:
    for model in (student, teacher):
        model.get_output_embeddings().register_forward_hook(lambda *_: pytest.fail("projected every position"))
    kd_loss(teacher, 0.5, 1.0, 140)(student, batch).backward()


def test_mixtral_learns_too(tmp_path: Path, batch: dict[str, torch.Tensor]) -> None:
    build(parse_spec("mixtral?layers=1&width=16&heads=2"), tmp_path)
    model = load_model(tmp_path, "float32")
    sft_loss(model, batch).backward()
    assert all(w.grad is not None and w.grad.isfinite().all() for w in model.parameters())
