from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from pydantic import ValidationError
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, MixtralForCausalLM
from transformers.models.mixtral import MixtralConfig

from harness.core.errors import HarnessError
from harness.train import attention
from harness.train.api import Batch, Objective
from harness.train.attention import attention_loss, layer_pairs, recorded_attention
from harness.train.losses import IGNORED, live_teacher
from harness.train.steps.kd import KDSettings, kd_loss

VOCABULARY = 60
LENGTHS = (11, 7, 9)


def _config(kind: Any, **values: Any) -> Any:
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
    }
    return kind(**{**sizes, **values})


def _model(seed: int, kind: Any = LlamaForCausalLM, config: Any = LlamaConfig, **values: Any) -> Any:
    """A small model with decided attention, in float64."""
    torch.manual_seed(seed)
    model = kind(_config(config, attn_implementation="sdpa", **values)).double().eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "q_proj" in name or "k_proj" in name:
                weight.mul_(40)
    return model


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Three rows padded on the right; responses with gaps."""
    g = torch.Generator().manual_seed(0)
    length = max(LENGTHS)
    ids = torch.randint(1, VOCABULARY, (len(LENGTHS), length), generator=g)
    real = torch.arange(length)[None] < torch.tensor(LENGTHS)[:, None]
    response = torch.rand(ids.shape, generator=g) < 0.5
    response[:, 0], response[:, 6] = False, True
    labels = torch.where(real & response, ids, IGNORED)
    return {"input_ids": torch.where(real, ids, 0), "attention_mask": real.long(), "labels": labels}


def _maps(model: Any, batch: Batch) -> tuple[torch.Tensor, ...]:
    """Every layer's whole maps (B, H, L, L), as transformers gives them, but for its softmax in float32."""
    model.set_attn_implementation("eager")
    given = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    with mock.patch("torch.nn.functional.softmax", lambda scores, dim, dtype=None: scores.softmax(dim)):
        maps: tuple[torch.Tensor, ...] = model(**given, output_attentions=True).attentions
    model.set_attn_implementation("sdpa")
    return maps


def _plain(student: Any, teacher: Any, batch: Batch, pairs: dict[int, int], averaged: bool = False) -> torch.Tensor:
    """N x L_attn from all maps at once."""
    mine, theirs = _maps(student, batch), _maps(teacher, batch)
    rows, queries = (batch["labels"] != IGNORED).nonzero(as_tuple=True)
    total = torch.zeros((), dtype=torch.float64)
    for i, j in pairs.items():
        a_s, a_t = mine[i][rows, :, queries], theirs[j][rows, :, queries].detach()
        if averaged:
            a_s, a_t = a_s.mean(1, keepdim=True), a_t.mean(1, keepdim=True)
        terms = torch.xlogy(a_t, a_t) - torch.where(a_t > 0, a_t * torch.where(a_t > 0, a_s, 1).log(), 0)
        total = total + terms.sum() / a_s.shape[1]
    return total / len(pairs)


def _ours(student: Any, teacher: Any, batch: Batch, pairs: dict[int, int]) -> torch.Tensor:
    given = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    with recorded_attention(teacher) as theirs, torch.no_grad():
        teacher.base_model(**given)
    with recorded_attention(student) as mine:
        student.base_model(**given)
    return attention_loss(mine, theirs, pairs, batch["labels"] != IGNORED)


def _gradient(total: torch.Tensor, model: Any) -> torch.Tensor:
    gradients = torch.autograd.grad(total, list(model.parameters()), allow_unused=True)
    return torch.cat([g.flatten() for g in gradients if g is not None])


def _same(student: Any, teacher: Any, batch: Batch, pairs: dict[int, int], averaged: bool = False) -> None:
    want, got = _plain(student, teacher, batch, pairs, averaged), _ours(student, teacher, batch, pairs)
    assert want.item() > 0.1
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(_gradient(got, student), _gradient(want, student), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("queries", [1, 3, 128])
def test_is_the_formula_on_all_maps(
    batch: dict[str, torch.Tensor], queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "QUERIES", queries)
    _same(_model(0), _model(1), batch, {0: 0, 1: 1})


def test_without_padding(batch: dict[str, torch.Tensor]) -> None:
    """Then the model passes no mask, and means a causal one."""
    whole = {name: values[:1] for name, values in batch.items()}
    student = _model(0)
    with recorded_attention(student) as seen:
        student.base_model(whole["input_ids"], attention_mask=whole["attention_mask"])
    assert seen[0].mask is None
    _same(student, _model(1), whole, {0: 0, 1: 1})


def test_sliding_windows_and_padding_on_the_left(batch: dict[str, torch.Tensor]) -> None:
    student, teacher = (_model(i, MistralForCausalLM, MistralConfig, sliding_window=4) for i in (0, 1))
    _same(student, teacher, batch, {0: 0, 1: 1})
    flipped = {name: values.flip(1) for name, values in batch.items()}
    _same(student, teacher, flipped, {0: 0, 1: 1})


def test_a_teacher_that_sees_further_back_is_an_error(batch: dict[str, torch.Tensor]) -> None:
    student = _model(0, MistralForCausalLM, MistralConfig, sliding_window=4)
    teacher = _model(1, MistralForCausalLM, MistralConfig, sliding_window=None)
    with pytest.raises(HarnessError, match="attends further back"):
        _ours(student, teacher, batch, {0: 0})
    assert _ours(teacher, student, batch, {0: 0}).isfinite()


def test_other_layers_and_other_numbers_of_heads(batch: dict[str, torch.Tensor]) -> None:
    student, deep = _model(0), _model(1, num_hidden_layers=3)
    _same(student, deep, batch, {0: 2, 1: 0})
    _same(student, _model(2, num_attention_heads=2), batch, {0: 0, 1: 1}, averaged=True)


def test_mixtral_student(batch: dict[str, torch.Tensor]) -> None:
    """The paper's case: a mixture of experts that learns from a mixture."""
    student, teacher = (_model(i, MixtralForCausalLM, MixtralConfig, experts_implementation="eager") for i in (0, 1))
    _same(student, teacher, batch, {0: 0, 1: 1})


def test_one_row_by_hand() -> None:
    """Two keys, one head: the teacher attends (3/4, 1/4), the student (1/2, 1/2): KL = 3/4 ln 3/2 + 1/4 ln 1/2."""
    teacher = torch.tensor([[[[0.0], [1.0]]]]), torch.tensor([[[[3.0], [1.0]]]]).log()
    student = torch.tensor([[[[0.0], [0.0]]]]), torch.ones(1, 1, 2, 1)
    maps = [{0: attention.Attention(query, key, None, 1.0)} for query, key in (student, teacher)]
    got = attention_loss(maps[0], maps[1], {0: 0}, torch.tensor([[False, True]]))
    assert got.item() == pytest.approx(0.75 * torch.tensor(1.5).log() + 0.25 * torch.tensor(0.5).log())


def _kd(teacher: Any, **values: Any) -> Objective:
    return kd_loss(KDSettings.model_validate(values), {"teacher": live_teacher(teacher)}, VOCABULARY)


def test_kd_adds_the_maps_by_their_weight(batch: dict[str, torch.Tensor]) -> None:
    student, teacher = _model(0), _model(1)
    plain = _kd(teacher, **{"lambda": 0.6})(student, batch)
    both = _kd(teacher, **{"lambda": 0.6, "w_pred": 1.0, "w_attn": 0.5})(student, batch)
    maps = _plain(student, teacher, batch, {0: 0, 1: 1})
    torch.testing.assert_close(both.total, plain.total + 0.3 * maps, rtol=1e-9, atol=1e-9)
    value, count = both.parts["loss/attention"]
    assert (value, count) == pytest.approx((maps.item(), float((batch["labels"] != IGNORED).sum())))
    only = _kd(teacher, w_pred=0.0, w_attn=1.0)(student, batch)
    torch.testing.assert_close(only.total, maps, rtol=1e-9, atol=1e-9)
    assert _gradient(only.total, student).any()


def test_averaged_heads_are_named(batch: dict[str, torch.Tensor]) -> None:
    loss = _kd(_model(1, num_attention_heads=2), w_attn=1.0)(_model(0), batch)
    assert {name for name in loss.parts if "attention" in name} == {"loss/attention_of_mean_heads"}


def test_a_batch_without_a_response_adds_nothing(batch: dict[str, torch.Tensor]) -> None:
    student = _model(0)
    empty = {**batch, "labels": torch.full_like(batch["labels"], IGNORED)}
    loss = _kd(_model(1), w_attn=1.0)(student, empty)
    assert loss.total.item() == 0
    assert not _gradient(loss.total, student).any()


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradient_checkpointing_changes_nothing(batch: dict[str, torch.Tensor], checkpointing: bool) -> None:
    student, teacher = _model(0), _model(1)
    want = _gradient(_kd(teacher, w_attn=1.0)(student, batch).total, student)
    if checkpointing:
        student.gradient_checkpointing_enable({"use_reentrant": False})
    student.train()
    _kd(teacher, w_attn=1.0)(student, batch).total.backward()
    got = torch.cat([w.grad.flatten() for w in student.parameters()])
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-7)


def test_under_autocast_it_is_nearly_the_same(batch: dict[str, torch.Tensor]) -> None:
    student, teacher = _model(0).float(), _model(1).float()
    objective = _kd(teacher, w_pred=0.0, w_attn=1.0)
    want = objective(student, batch).total
    with torch.autocast("cpu", torch.bfloat16):
        got = objective(student, batch).total
    assert got.item() == pytest.approx(want.item(), rel=0.1)
    assert _gradient(got, student).isfinite().all()


def test_the_model_is_left_as_it_was(batch: dict[str, torch.Tensor]) -> None:
    student = _model(0)
    with pytest.raises(ZeroDivisionError), recorded_attention(student):
        raise ZeroDivisionError
    assert student.config._attn_implementation == "sdpa"
    with pytest.raises(HarnessError, match="attention of 0 of its 2 layers"), recorded_attention(student):
        pass


def test_no_whole_map_is_made(batch: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    monkeypatch.setattr(attention, "QUERIES", 2)
    length = max(LENGTHS)

    class Maps(TorchDispatchMode):  # type: ignore[misc]
        rows = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.is_floating_point() and out.dim() == 3 and out.shape[0] == 4:
                self.rows = max(self.rows, out.shape[1] if out.shape[2] > 4 else 0)
            return out

    student, teacher = _model(0), _model(1)
    given = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    with recorded_attention(teacher) as theirs, torch.no_grad():
        teacher.base_model(**given)
    with recorded_attention(student) as mine:
        student.base_model(**given)
    with Maps() as seen:
        loss = attention_loss(mine, theirs, {0: 0, 1: 1}, batch["labels"] != IGNORED)
        torch.autograd.grad(loss, [mine[0].query, mine[1].key])
    assert 0 < seen.rows < length


def test_layers_must_be_there() -> None:
    assert layer_pairs(None, 3, 3) == {0: 0, 1: 1, 2: 2}
    with pytest.raises(HarnessError, match="student has 2 layers, the teacher 4"):
        layer_pairs(None, 2, 4)
    with pytest.raises(HarnessError, match="attention_layers has 1: 4; the student has 2 layers, the teacher 4"):
        layer_pairs({0: 0, 1: 4}, 2, 4)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"w_attn": 1.0, "targets": "cached"}, "stored targets hold no attention maps"),
        ({"w_pred": 0.0}, "nothing to distil"),
        ({"attention_layers": {}}, "names no layer"),
        ({"attention_layers": {0: -1}}, "greater than or equal to 0"),
        ({"w_attn": -0.1}, "greater than or equal to 0"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        KDSettings.model_validate(values)


def test_layers_survive_json(tmp_path: Path) -> None:
    from harness.core.settings import identity

    settings = KDSettings(w_attn=1.0, attention_layers={0: 1, 1: 3})
    assert KDSettings.model_validate(identity(settings), by_name=True).attention_layers == {0: 1, 1: 3}
