"""Passes over a model that is spread over devices give the numbers of one device.

On a CPU the layers wait on the disk: accelerate's hooks bring each one in for its pass, as they move the states between
GPUs. `tests/gpu` has the same with GPUs.
"""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from accelerate import cpu_offload

from harness.core.errors import HarnessError
from harness.generate.api import Answer, GenerateSettings, Request
from harness.generate.transformers_engine import TransformersEngine
from harness.models import load
from harness.models.load import check_finite, load_model, load_reward_model, load_tokenizer
from harness.models.pocket import build, parse_spec
from harness.models.routing import measure_load
from harness.teachers.api import Need
from harness.teachers.measure import score_responses
from harness.teachers.settings import PassSettings
from harness.train.targets import TargetPass, _predict
from tests.models.quantised import quantise

SPREAD = {"model.embed_tokens": "cpu", "model.rotary_emb": "cpu", "model.layers": "disk", "model.norm": "cpu"}
CHAT = [{"role": "user", "content": "copy : red cup"}, {"role": "assistant", "content": "red cup"}]


@pytest.fixture
def both(pocket_folder: Path) -> tuple[Any, Any]:
    """A model on a device, and spread."""
    spread = load_model(pocket_folder, "float32", SPREAD | {"lm_head": "cpu"})
    assert spread.model.layers[0].mlp.up_proj.weight.device.type == "meta", "it waits elsewhere"
    return load_model(pocket_folder, "float32"), spread


def test_stored_targets(both: tuple[Any, Any]) -> None:
    rows = [(np.arange(4, 20), np.arange(16) > 7), (np.arange(30, 42), np.arange(12) > 3)]
    want, got = (_predict(model, rows, TargetPass(4, 1.0, "float32"), 100, 4) for model in both)
    assert torch.equal(got.ids, want.ids)
    torch.testing.assert_close(got.logprobs, want.logprobs)


def test_teacher_scores(both: tuple[Any, Any], pocket_folder: Path) -> None:
    tokenizer = load_tokenizer(pocket_folder)
    chats = [{"id": str(n), "messages": CHAT} for n in range(3)]
    passes: frozenset[Need] = frozenset({"ranks", "alone"})
    want, got = (
        score_responses(model, tokenizer, chats, PassSettings(), passes, lambda *_, **__: None) for model in both
    )
    np.testing.assert_allclose(got.logprobs, want.logprobs, rtol=1e-5)
    assert got.ranks is not None
    assert want.ranks is not None
    assert got.ranks.tolist() == want.ranks.tolist()


def test_answers(both: tuple[Any, Any], pocket_folder: Path) -> None:
    """Rows of different lengths, one of which leaves the batch first."""
    tokenizer, answers = load_tokenizer(pocket_folder), []
    for model in both:
        told: list[Answer] = []
        engine = TransformersEngine(tokenizer, model, GenerateSettings(batch_size=2))
        requests = [
            Request(id=str(n), messages=tuple(CHAT[:1]), temperature=0.0, max_new_tokens=3 + 5 * n, seed=n)
            for n in range(2)
        ]
        engine.complete(requests, told.extend)
        answers.append({answer.id: answer.turns for answer in told})
    assert answers[0] == answers[1]
    assert len(answers[0]) == 2


def test_load_of_experts(tmp_path: Path) -> None:
    build(parse_spec("mixtral?layers=2&width=16&heads=2&experts=3&per_token=2"), tmp_path)
    whole, spread = (cast(Any, load_model(tmp_path, "float32")) for _ in range(2))
    cpu_offload(spread.model.layers, torch.device("cpu"))
    want, got = (measure_load(model, list(range(4, 20))) for model in (whole, spread))
    torch.testing.assert_close(got.mass, want.mass)
    assert torch.equal(got.visits, want.visits)


def test_rewards(tmp_path: Path, pocket_folder: Path) -> None:
    torch.manual_seed(0)
    model = load_reward_model(pocket_folder, "float32", new_head=True)
    model.save_pretrained(tmp_path)
    ids = torch.arange(4, 20)[None]
    spread = load_reward_model(tmp_path, "float32", SPREAD | {"score": "cpu"})
    spread.config.pad_token_id = model.config.pad_token_id = 0
    torch.testing.assert_close(spread(input_ids=ids).logits, model(input_ids=ids).logits)


def test_where_a_pass_has_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    places = []
    for count in range(4):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        places.append(load.available())
    assert places == ["cpu", "cuda", "balanced", "balanced"]


def test_a_model_that_fits_on_no_gpus_is_refused(pocket_folder: Path) -> None:
    """Without a GPU transformers leaves the whole model on the CPU."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(HarnessError, match="does not fit on the GPUs") as caught:
        load_model(pocket_folder, "float32", "balanced")
    assert "gpus: N" in caught.value.fix


def test_a_quantised_checkpoint_is_read(tmp_path: Path) -> None:
    build(parse_spec("llama?layers=2&width=32&heads=4"), tmp_path)
    plain, ids = load_model(tmp_path, "float32"), torch.arange(4, 20)[None]
    quantise(tmp_path)
    model = load_model(tmp_path, "float32")
    check_finite(model, "here")
    difference = (model(input_ids=ids).logits - plain(input_ids=ids).logits).abs().max().item()
    assert 0 < difference < 0.1, "near the unquantised model, and not that model"
