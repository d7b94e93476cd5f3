"""Shapes from configs against real modules: the same numbers, without building one."""

from typing import Any

import pytest
import torch
import transformers

from harness.models.shape import Shape, of_config, published
from harness.train.flops import active_weights

SMALL = {
    "vocab_size": 120,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("Llama", {}),
    ("Llama", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
    ("Mistral", {"head_dim": 16}),
    ("Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    ("Phi3", {}),
    ("Qwen2", {"tie_word_embeddings": True}),
    ("Qwen3", {"head_dim": 16}),
    ("Qwen3Moe", {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 40, "head_dim": 16}),
    ("Gemma2", {"head_dim": 16}),
    ("Gemma3Text", {"head_dim": 16}),
]


def built(name: str, changed: dict[str, Any]) -> tuple[Any, Shape]:
    config = getattr(transformers, f"{name}Config")(**(SMALL | changed))
    with torch.device("meta"):
        model = getattr(transformers, f"{name.removesuffix('Text')}ForCausalLM")(config)
    shape = of_config(config.to_dict())
    assert shape is not None
    return model, shape


@pytest.mark.parametrize(("name", "changed"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_numbers_are_those_of_the_module(name: str, changed: dict[str, Any]) -> None:
    model, shape = built(name, changed)
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())
    assert shape.active == active_weights(model)


@pytest.mark.parametrize(("name", "changed"), CASES[:4], ids=lambda value: value if isinstance(value, str) else "")
def test_adapters_are_those_that_a_training_adds(name: str, changed: dict[str, Any]) -> None:
    from harness.train.lora import add_adapters
    from harness.train.settings import LoraSettings

    model, shape = built(name, changed | {"tie_word_embeddings": False})
    add_adapters(model, LoraSettings(rank=4))
    assert shape.adapters(4) == sum(w.numel() for w in model.parameters() if w.requires_grad)


def test_a_multimodal_config_describes_its_language_model() -> None:
    text = {"model_type": "gemma3_text", **SMALL, "head_dim": 16}
    assert of_config({"model_type": "gemma3", "text_config": text}) == of_config(text)


@pytest.mark.parametrize(
    ("method", "bits"),
    [
        ({"quant_method": "fp8"}, 8),
        ({"quant_method": "awq", "bits": 4}, 4),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}}, 4),
    ],
)
def test_quantised_layers_take_their_bits(method: dict[str, Any], bits: int) -> None:
    config = {"model_type": "llama", **SMALL}
    shape, plain = of_config(config | {"quantization_config": method}), of_config(config)
    assert shape is not None
    assert plain is not None
    layers = shape.layers * shape.layer
    assert plain.weight_bytes(2) == 2 * plain.parameters
    assert plain.weight_bytes(2) - shape.weight_bytes(2) == layers * (2 - bits / 8)


@pytest.mark.parametrize("config", [{}, {"model_type": "mamba"}, {"model_type": "llama"}])
def test_what_is_not_known_is_none(config: dict[str, Any]) -> None:
    assert of_config(config) is None


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mistralai/Mistral-7B-v0.1", 7_241_732_096),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 46_702_792_704),
        ("Qwen/Qwen2-1.5B", 1_543_714_304),
        ("Qwen/Qwen2.5-3B", 3_085_938_688),
        ("google/gemma-2-2b", 2_614_341_888),
        ("meta-llama/Llama-3.2-3B", 3_212_749_824),
        ("Skywork/Skywork-Reward-Gemma-2-27B", 27_227_128_320),
    ],
)
def test_published_shapes_give_the_published_numbers_of_parameters(name: str, parameters: int) -> None:
    assert published()[name].parameters == parameters


def test_a_mixture_of_a_dense_shape() -> None:
    dense = published()["mistralai/Mistral-7B-v0.1"]
    eight = dense.mixture(8, 2)
    assert eight.parameters == published()["mistralai/Mixtral-8x7B-v0.1"].parameters
    assert eight.active == pytest.approx(12.75e9, rel=0.01)
