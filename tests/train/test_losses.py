from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from harness.core.errors import HarnessError
from harness.models.load import load_model, output_head
from harness.models.logprobs import DenseTarget, Target, TopTarget
from harness.models.pocket import build, parse_spec
from harness.train.api import Batch, Loss, Objective, Teacher
from harness.train.losses import IGNORED, live_teacher, sub_batch
from harness.train.steps.dae import DAESettings, dae_loss
from harness.train.steps.kd import KDSettings, kd_loss
from harness.train.steps.sft import sft_loss

VOCABULARY = 100
"""Tokens of the batches; the models have a few more."""
LENGTHS = (9, 4, 7, 6, 5)
DOMAINS = (0, 1, 0, 2, 1)


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Five rows of different lengths and three domains, with responses in the middle and at the end."""
    g = torch.Generator().manual_seed(0)
    length = max(LENGTHS)
    ids = torch.randint(5, VOCABULARY, (len(LENGTHS), length), generator=g)
    real = torch.arange(length)[None] < torch.tensor(LENGTHS)[:, None]
    response = torch.rand(ids.shape, generator=g) < 0.6
    response[:, 0] = False
    response[:, 2] = True
    return {
        "input_ids": torch.where(real, ids, 0),
        "attention_mask": real.long(),
        "labels": torch.where(real & response, ids, IGNORED),
        "domain": torch.tensor(DOMAINS),
        "row": torch.arange(len(LENGTHS)),
    }


@pytest.fixture
def student(models: list[Any]) -> Any:
    return models[0]


@pytest.fixture
def teachers(models: list[Any]) -> dict[str, Teacher]:
    """Under the roles of a DAE step, the reference not first."""
    return {role: live_teacher(model) for role, model in zip(("shop", "reference", "law"), models[1:], strict=True)}


def _dae(**values: Any) -> DAESettings:
    return DAESettings.model_validate({"experts": {"shop": "pocket:a", "law": "pocket:b"}, **values})


def _kd(**values: Any) -> KDSettings:
    return KDSettings.model_validate(values)


def _gradient(total: torch.Tensor, model: Any) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, list(model.parameters()))])


def _logits(model: Any, batch: Batch) -> torch.Tensor:
    """Logits (N, V) that predict response tokens, by plain slicing."""
    logits: torch.Tensor = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    return logits[batch["labels"][:, 1:] != IGNORED]


def _tokens(batch: Batch) -> torch.Tensor:
    return batch["labels"][:, 1:][batch["labels"][:, 1:] != IGNORED]


def _plain(student: Any, teachers: Sequence[Any], batch: Batch, lambda_: float, t: float) -> torch.Tensor:
    """(1 - lambda) CE + lambda T^2 KL per position (N,): position i learns from teachers[i % len] of its row's domain.

    Every teacher runs over the whole batch, every distribution is whole: what the losses have to equal.
    """
    logits, tokens = _logits(student, batch), _tokens(batch)
    rows = (batch["labels"][:, 1:] != IGNORED).nonzero()[:, 0]
    taught = torch.stack([_logits(teacher, batch) for teacher in teachers]).detach()
    number = batch["domain"][rows] if len(teachers) > 1 else torch.zeros_like(rows)
    p = torch.softmax(taught[number, torch.arange(len(tokens))] / t, -1)
    log_q = torch.log_softmax(logits / t, -1)
    cross_entropy = torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
    return (1 - lambda_) * cross_entropy + lambda_ * t**2 * (p * (p.log() - log_q)).sum(-1)


def _close(got: Any, want: Any) -> None:
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


def test_sft_is_transformers_own_loss(student: Any, batch: dict[str, torch.Tensor]) -> None:
    mine = sft_loss(student, batch).total
    plain = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
    theirs = student(**plain).loss * len(_tokens(batch))
    torch.testing.assert_close(mine, theirs.double(), rtol=1e-6, atol=1e-6)  # theirs goes through float32
    torch.testing.assert_close(_gradient(mine, student), _gradient(theirs, student), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("lambda_", "temperature"), [(1.0, 1.0), (0.3, 2.0), (0.0, 1.0)])
def test_kd_is_the_formula(
    models: list[Any], batch: dict[str, torch.Tensor], lambda_: float, temperature: float
) -> None:
    student, teacher, *_ = models
    settings = _kd(**{"lambda": lambda_, "temperature": temperature})
    mine = kd_loss(settings, {"teacher": live_teacher(teacher)} if lambda_ else {}, VOCABULARY)(student, batch)
    want = _plain(student, [teacher], batch, lambda_, temperature).sum()
    _close(mine.total, want)
    _close(_gradient(mine.total, student), _gradient(want, student))


@pytest.mark.parametrize(("lambda_", "temperature"), [(1.0, 1.0), (0.3, 2.0)])
def test_dae_is_the_formula_with_each_rows_own_teacher(
    models: list[Any],
    teachers: dict[str, Teacher],
    batch: dict[str, torch.Tensor],
    lambda_: float,
    temperature: float,
) -> None:
    student, shop, reference, law = models
    settings = _dae(**{"lambda": lambda_, "temperature": temperature})
    mine = dae_loss(settings, teachers, VOCABULARY)(student, batch)
    each = _plain(student, [reference, shop, law], batch, lambda_, temperature)
    _close(mine.total, each.sum())
    _close(_gradient(mine.total, student), _gradient(each.sum(), student))
    number = batch["domain"][(batch["labels"][:, 1:] != IGNORED).nonzero()[:, 0]]
    for domain, name in enumerate(("general", "shop", "law")):
        value, count = mine.parts[f"loss/{name}"]
        assert count == (number == domain).sum()
        assert value == pytest.approx(each[number == domain].sum().item())


def test_agreement_is_of_each_teachers_own_rows(
    models: list[Any], teachers: dict[str, Teacher], batch: dict[str, torch.Tensor]
) -> None:
    student, shop, reference, law = models
    parts = dae_loss(_dae(), teachers, VOCABULARY)(student, batch).parts
    number = batch["domain"][(batch["labels"][:, 1:] != IGNORED).nonzero()[:, 0]]
    best = _logits(student, batch).argmax(-1)
    for domain, (role, model) in enumerate((("reference", reference), ("shop", shop), ("law", law))):
        same = (best == _logits(model, batch).argmax(-1))[number == domain]
        assert parts[f"agreement/{role}"] == (float(same.sum()), float(len(same)))
    parts = kd_loss(_kd(), {"teacher": live_teacher(student)}, VOCABULARY)(student, batch).parts
    assert parts == {"agreement/teacher": (float(len(number)), float(len(number)))}


def _watched(teachers: dict[str, Teacher], seen: dict[str, list[Batch]]) -> dict[str, Teacher]:
    def watch(role: str, teacher: Teacher) -> Teacher:
        def target(batch: Batch) -> Target:
            seen.setdefault(role, []).append(batch)
            return teacher.target(batch)

        return Teacher(target, teacher.model)

    return {role: watch(role, teacher) for role, teacher in teachers.items()}


def test_a_teacher_runs_on_its_own_rows_without_their_padding(
    student: Any, teachers: dict[str, Teacher], batch: dict[str, torch.Tensor]
) -> None:
    """The released code runs every teacher over every row."""
    seen: dict[str, list[Batch]] = {}
    passes = []
    hook = student.base_model.register_forward_hook(lambda *_: passes.append(1))
    dae_loss(_dae(), _watched(teachers, seen), VOCABULARY)(student, batch)
    hook.remove()
    assert len(passes) == 1
    for role, rows, length in (("reference", [0, 2], 9), ("shop", [1, 4], 5), ("law", [3], 6)):
        (given,) = seen[role]
        assert given["row"].tolist() == rows
        assert given["input_ids"].shape == given["labels"].shape == (len(rows), length)
        for name in ("input_ids", "attention_mask", "labels"):
            assert torch.equal(given[name], batch[name][rows][:, :length])


def test_a_teacher_without_rows_does_not_run(
    student: Any, teachers: dict[str, Teacher], batch: dict[str, torch.Tensor]
) -> None:
    seen: dict[str, list[Batch]] = {}
    general = sub_batch(batch, batch["domain"] == 0)
    loss = dae_loss(_dae(), _watched(teachers, seen), VOCABULARY)(student, general)
    assert seen.keys() == {"reference"}
    assert loss.parts["loss/law"] == loss.parts["agreement/law"] == (0.0, 0.0)
    _close(loss.total, kd_loss(_kd(), {"teacher": teachers["reference"]}, VOCABULARY)(student, general).total)


def test_a_domain_without_an_expert_is_an_error(
    student: Any, teachers: dict[str, Teacher], batch: dict[str, torch.Tensor]
) -> None:
    batch["domain"][1] = 3
    with pytest.raises(HarnessError, match="domain 3, and 2 experts"):
        dae_loss(_dae(), teachers, VOCABULARY)(student, batch)


def _stored(teacher: Teacher, vocab_size: int, k: int, temperature: float) -> Teacher:
    """What a store of the k likeliest tokens gives back."""

    def target(batch: Batch) -> TopTarget:
        dense = teacher.target(batch)
        assert isinstance(dense, DenseTarget)
        logprobs, ids = torch.log_softmax(dense.hidden @ dense.head.weight[:vocab_size].T / temperature, -1).topk(k)
        return TopTarget(ids, logprobs)

    return Teacher(target)


@pytest.mark.parametrize("divergence", ["forward_kl", "reverse_kl", "jsd"])
def test_stored_targets_of_all_words_are_the_live_teacher(
    student: Any, teachers: dict[str, Teacher], batch: dict[str, torch.Tensor], divergence: str
) -> None:
    vocab_size = len(output_head(student).weight)
    settings = _dae(**{"lambda": 0.6, "temperature": 1.5, "divergence": divergence})
    live = dae_loss(settings, teachers, vocab_size)(student, batch)
    stored = {role: _stored(teacher, vocab_size, vocab_size - 1, 1.5) for role, teacher in teachers.items()}
    cached = dae_loss(settings, stored, vocab_size)(student, batch)
    torch.testing.assert_close(cached.total, live.total, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(_gradient(cached.total, student), _gradient(live.total, student), rtol=1e-5, atol=1e-6)
    few = {role: _stored(teacher, vocab_size, 8, 1.5) for role, teacher in teachers.items()}
    if divergence != "jsd":
        assert dae_loss(settings, few, vocab_size)(student, batch).total < live.total
    assert dae_loss(settings, few, vocab_size)(student, batch).parts.keys() == live.parts.keys()


def test_rows_beyond_the_vocabulary_take_no_part(tmp_path: Any, student: Any, batch: dict[str, torch.Tensor]) -> None:
    build(parse_spec("llama?layers=1&width=24&heads=2&seed=7"), tmp_path)
    teacher = load_model(tmp_path, "float32").double().requires_grad_(False)
    vocab_size = len(output_head(teacher).weight)
    plain = kd_loss(_kd(), {"teacher": live_teacher(teacher)}, vocab_size)(student, batch)
    teacher.resize_token_embeddings(vocab_size + 20, mean_resizing=False)
    with torch.no_grad():
        output_head(teacher).weight[vocab_size:] = 100.0
    _close(kd_loss(_kd(), {"teacher": live_teacher(teacher)}, vocab_size)(student, batch).total, plain.total)


def _objectives(teachers: dict[str, Teacher]) -> Iterator[Objective]:
    yield sft_loss
    yield kd_loss(_kd(**{"lambda": 0.5}), {"teacher": teachers["reference"]}, VOCABULARY)
    yield dae_loss(_dae(**{"lambda": 0.5}), teachers, VOCABULARY)


def test_batch_without_a_response_adds_nothing(
    student: Any, teachers: dict[str, Teacher], batch: dict[str, torch.Tensor]
) -> None:
    """The released code divides 0 by 0."""
    empty = {**batch, "labels": torch.full_like(batch["labels"], IGNORED)}
    for objective in _objectives(teachers):
        loss = objective(student, empty)
        assert loss.total.item() == 0
        assert all(part == (0.0, 0.0) for part in loss.parts.values())
        assert not _gradient(loss.total, student).any()


def test_parts_of_a_batch_add_up_to_it(
    student: Any, teachers: dict[str, Teacher], batch: dict[str, torch.Tensor]
) -> None:
    """Uneven parts, one of them without a response: each is a sum, so that dividing by all tokens is right."""
    batch["labels"][3] = IGNORED
    cuts = [torch.tensor(rows) for rows in ([0], [1, 2], [3], [4])]
    for objective in _objectives(teachers):
        whole = objective(student, batch)
        pieces: list[Loss] = []
        for rows in cuts:
            chosen = torch.zeros(len(LENGTHS), dtype=torch.bool)
            chosen[rows] = True
            pieces.append(objective(student, sub_batch(batch, chosen)))
        _close(sum(piece.total for piece in pieces), whole.total)
        _close(
            sum(_gradient(piece.total, student) for piece in pieces),
            _gradient(objective(student, batch).total, student),
        )
        for name, (value, count) in whole.parts.items():
            assert sum(piece.parts[name][1] for piece in pieces) == count
            assert sum(piece.parts[name][0] for piece in pieces) == pytest.approx(value)


def test_a_mask_that_is_not_shifted_is_another_loss(student: Any, batch: dict[str, torch.Tensor]) -> None:
    """The slip of the released code: logits at response positions, not before them."""
    teacher = live_teacher(student)
    taught = teacher.target(batch)
    assert isinstance(taught, DenseTarget)
    with torch.no_grad():
        hidden = student.base_model(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    _close(taught.hidden, hidden[:, :-1][batch["labels"][:, 1:] != IGNORED])
    unshifted = Teacher(lambda given: DenseTarget(hidden[given["labels"] != IGNORED], taught.head))
    assert kd_loss(_kd(), {"teacher": teacher}, VOCABULARY)(student, batch).total.item() == pytest.approx(0, abs=1e-9)
    assert kd_loss(_kd(), {"teacher": unshifted}, VOCABULARY)(student, batch).total.item() > 1


def test_no_logits_of_all_positions(
    models: list[Any], teachers: dict[str, Teacher], batch: dict[str, torch.Tensor]
) -> None:
    hooks = [
        model.get_output_embeddings().register_forward_hook(lambda *_: pytest.fail("projected every position"))
        for model in models
    ]
    for objective in _objectives(teachers):
        objective(models[0], batch).total.backward()
    for hook in hooks:
        hook.remove()
    models[0].zero_grad()


def test_teachers_get_no_gradient(models: list[Any], batch: dict[str, torch.Tensor]) -> None:
    student, teacher, *_ = models
    teacher.requires_grad_(True)
    kd_loss(_kd(), {"teacher": live_teacher(teacher)}, VOCABULARY)(student, batch).total.backward()
    assert all(w.grad is None for w in teacher.parameters())
    teacher.requires_grad_(False)
    student.zero_grad()


def test_mixtral_learns_too(tmp_path: Any, batch: dict[str, torch.Tensor]) -> None:
    build(parse_spec("mixtral?layers=1&width=16&heads=2"), tmp_path)
    model = load_model(tmp_path, "float32")
    sft_loss(model, batch).total.backward()
    assert all(w.grad is not None and w.grad.isfinite().all() for w in model.parameters())
