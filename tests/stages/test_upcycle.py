"""Upcycling as a stage: what it is named by, and the routers it starts with."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.core.errors import HarnessError
from harness.data.settings import DatasetSettings
from harness.models.chat import encode_prompt
from harness.models.load import load_model, load_tokenizer
from harness.models.moe import hidden_router
from harness.models.settings import ModelSettings, MoESettings
from harness.stages import dataset, upcycle
from harness.stages.api import Session, Stage
from harness.stages.model import PlannedModel, weights
from harness.stages.runner import read_order, run_stage, write_orders
from harness.store.store import Store

BASE = "pocket:llama?layers=1&width=16&heads=2&seed=1"
OTHER = "pocket:llama?layers=1&width=16&heads=2&seed=2"


def model(reference: str = BASE) -> PlannedModel:
    return weights(ModelSettings(model=reference), {})


def data(folder: Path, name: str, *texts: str) -> Stage:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"prompt": text, "response": "red"}) + "\n" for text in texts))
    return dataset.stage(DatasetSettings(path=path), 0, name)


def settings(**values: Any) -> MoESettings:
    return MoESettings.model_validate_json(json.dumps(values))


def built(folder: Path, stage: Stage) -> Path:
    store = Store(folder / "store")
    for needed in (s for s in stage.walk() if not s.is_leaf):
        write_orders(store, [needed])
        run_stage(store, read_order(store, needed.id), Session(), lambda *_, **__: None)
    return store.path(stage.id)


def routers(folder: Path) -> torch.Tensor:
    """(L, E, H)"""
    loaded: Any = load_model(folder, "float32")
    return torch.stack([layer.mlp.gate.weight.detach() for layer in loaded.model.layers])


def ids(*given: MoESettings) -> set[str]:
    return {upcycle.stage(model(), [], one).stage.id for one in given}


def test_named_by_what_matters() -> None:
    """A zero router has no scale and no seed."""
    assert len(ids(settings(router="zero"), settings(router="zero", router_scale=1.0, router_seed=3))) == 1
    assert (
        len(
            ids(
                settings(),
                settings(router_scale=1.0),
                settings(router_seed=3),
                settings(router="zero"),
                settings(experts=3),
                settings(per_token=1),
            )
        )
        == 6
    )
    copies = upcycle.stage(model(), [], settings()).stage
    assert copies.id != upcycle.stage(model(OTHER), [], settings()).stage.id
    assert copies.id != upcycle.stage(model(), [model(), model(OTHER)], settings()).stage.id


def test_copies_with_a_random_router(tmp_path: Path) -> None:
    folder = built(tmp_path, upcycle.stage(model(), [], settings(experts=3, per_token=1, router_scale=0.5)).stage)
    found = routers(folder)
    assert found.shape == (1, 3, 16)
    assert 0.3 < float(found.std()) < 0.7
    assert load_tokenizer(folder).chat_template


def test_experts_in_the_order_given(tmp_path: Path) -> None:
    stage = upcycle.stage(model(), [model(OTHER), model()], settings(router="zero")).stage
    mixed: Any = load_model(built(tmp_path, stage), "float32")
    dense: Any = [load_model(built(tmp_path, model(reference).stage), "float32") for reference in (OTHER, BASE)]
    experts = mixed.model.layers[0].mlp.experts.down_proj
    for mine, theirs in zip(experts, dense, strict=True):
        assert torch.equal(mine, theirs.model.layers[0].mlp.down_proj.weight)
    assert torch.equal(mixed.lm_head.weight, dense[1].lm_head.weight)


def test_a_hidden_router_reads_each_experts_prompts(tmp_path: Path) -> None:
    """The prompts alone, as the model is asked them; no more than the first ones."""
    general = ["say red", "add 1 and 2", *["say blue"] * (upcycle._MOST_PROMPTS - 2), "left out"]
    prompts = [data(tmp_path, "general", *general), data(tmp_path, "shop", "price of lamp")]
    how = settings(router="hidden", prompts=["train", "domain"])
    folder = built(tmp_path, upcycle.stage(model(), [], how, prompts).stage)
    base = built(tmp_path, model().stage)
    tokenizer = load_tokenizer(base)
    asked = [
        [encode_prompt(tokenizer, [{"role": "user", "content": text}]) for text in texts]
        for texts in (general[:-1], ["price of lamp"])
    ]
    want = hidden_router(asked)(load_model(base, "float32"), 2)
    torch.testing.assert_close(routers(folder), want)


def test_prompts_that_are_none(tmp_path: Path) -> None:
    prompts = [data(tmp_path, "general", "say red"), data(tmp_path, "shop", "say red")]
    stage = upcycle.stage(model(), [], settings(router="hidden", prompts=["train", "domain"]), prompts).stage
    store = Store(tmp_path / "store")
    for needed in (s for s in stage.walk() if not s.is_leaf and s is not stage):
        built(tmp_path, needed)
    (store.path(prompts[1].id) / "conversations.jsonl").write_text("")
    write_orders(store, [stage])
    session = Session()
    session.checked.add(prompts[1].id)  # it is empty here, not damaged
    with pytest.raises(HarnessError, match="no prompt to make a router from"):
        run_stage(store, read_order(store, stage.id), session, lambda *_, **__: None)
