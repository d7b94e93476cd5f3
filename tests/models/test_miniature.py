"""Miniatures of models: their class, vocabulary, positions and ratios stay, their weights are few."""

import json
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.models.inventory import inspected
from harness.models.load import load_model, load_reward_model, load_tokenizer
from harness.models.miniature import miniature
from tests.worlds.models import PUBLIC

KEPT = ("model_type", "vocab_size", "max_position_embeddings", "sliding_window", "tie_word_embeddings")


@pytest.mark.parametrize("name", [name for name in PUBLIC if "Reward" not in name])
def test_a_miniature_is_a_small_model_of_the_same_kind(name: str, tmp_path: Path) -> None:
    source = PUBLIC[name].write(tmp_path / "source")
    miniature(source, tmp_path / "small")
    real, small = (json.loads((tmp_path / of / "config.json").read_text()) for of in ("source", "small"))
    assert {key: small.get(key) for key in KEPT if key in real} == {key: real[key] for key in KEPT if key in real}
    ratios = [one["num_attention_heads"] / one["num_key_value_heads"] for one in (real, small)]
    assert ratios[0] == ratios[1]
    assert inspected(tmp_path / "small")["parameters"] < 20_000_000
    assert load_model(tmp_path / "small", "float32").config.num_hidden_layers == 2
    assert load_tokenizer(tmp_path / "small").get_vocab() == load_tokenizer(source).get_vocab()


def test_experts_and_their_number_per_token_stay(tmp_path: Path) -> None:
    miniature(PUBLIC["mistralai/Mixtral-8x7B-Instruct-v0.1"].write(tmp_path / "source"), tmp_path / "small")
    assert (inspected(tmp_path / "small")["experts"], inspected(tmp_path / "small")["per_token"]) == (8, 2)


def test_a_reward_model_has_its_one_label(tmp_path: Path) -> None:
    miniature(PUBLIC["Skywork/Skywork-Reward-Gemma-2-27B"].write(tmp_path / "source"), tmp_path / "small")
    assert load_reward_model(tmp_path / "small", "float32").config.num_labels == 1


def test_every_kind_of_layer_is_there(tmp_path: Path) -> None:
    from transformers import Gemma3TextConfig

    Gemma3TextConfig(num_hidden_layers=26).save_pretrained(tmp_path / "source")
    miniature(tmp_path / "source", tmp_path / "small")
    kinds = json.loads((tmp_path / "small/config.json").read_text())["layer_types"]
    assert set(kinds) == {"sliding_attention", "full_attention"}


def test_the_same_description_gives_the_same_bytes(tmp_path: Path) -> None:
    source = PUBLIC["mistralai/Mistral-7B-v0.1"].write(tmp_path / "source")
    for name in ("one", "two"):
        miniature(source, tmp_path / name)
    assert (tmp_path / "one/model.safetensors").read_bytes() == (tmp_path / "two/model.safetensors").read_bytes()


def test_a_class_that_nobody_knows_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no_such_model"}))
    with pytest.raises(HarnessError, match="no miniature can be made"):
        miniature(tmp_path, tmp_path / "small")
