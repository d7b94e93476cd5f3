"""Mixtures made of dense models: with copies nothing changes, and what is carried over is all there."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from harness.core.errors import HarnessError
from harness.models.load import load_model, load_tokenizer
from harness.models.moe import Router, hidden_router, random_router, upcycle, zero_router
from harness.models.pocket import build, parse_spec, tokenizer

SIZE: dict[str, Any] = {
    "vocab_size": 122,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.1,
    "eos_token_id": 3,
    "pad_token_id": 0,
    "bos_token_id": None,
}
PROMPTS = [[[5, 6, 7], [8, 9]], [[20, 21, 22, 23]], [[40], [41, 42]], [[60, 61]]]
ROUTERS: dict[str, Callable[[int], Router]] = {
    "zero": lambda experts: zero_router,
    "random": lambda experts: random_router(3.0, 1),
    "hidden": lambda experts: hidden_router(PROMPTS[:experts]),
}


def save(model: Any, folder: Path) -> Path:
    """A dense model with the pocket world's tokenizer."""
    model.generation_config = GenerationConfig(do_sample=False, eos_token_id=[3, 2], pad_token_id=0)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def batch() -> dict[str, Tensor]:
    """Rows with padding on the left, on the right, and without."""
    ids = torch.randint(4, 122, (3, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    mask[1, 8:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def logits(folder: Path, inputs: dict[str, Tensor] | None = None) -> Tensor:
    """At the tokens that are no padding."""
    inputs = inputs or batch()
    with torch.inference_mode():
        out: Tensor = load_model(folder, "float32")(**inputs).logits
    return out[inputs["attention_mask"].bool()]


def mixture(base: Path, out: Path, experts: int = 2, per_token: int = 2, router: Router = zero_router) -> Path:
    upcycle(base, [base] * experts, out, per_token=per_token, router=router)
    return out


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize(("experts", "per_token"), [(2, 2), (2, 1), (4, 2), (4, 3)])
def test_copies_are_their_source(
    pocket_folder: Path, tmp_path: Path, router: str, experts: int, per_token: int
) -> None:
    made = mixture(pocket_folder, tmp_path, experts, per_token, ROUTERS[router](experts))
    torch.testing.assert_close(logits(made), logits(pocket_folder), atol=1e-4, rtol=0)
    config = json.loads((made / "config.json").read_text())
    assert (config["num_local_experts"], config["num_experts_per_tok"]) == (experts, per_token)


LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8,
}
FAMILIES: dict[str, Callable[[], Any]] = {
    "tied": lambda: LlamaForCausalLM(LlamaConfig(**SIZE, tie_word_embeddings=True)),
    "grouped heads": lambda: LlamaForCausalLM(LlamaConfig(**SIZE, num_key_value_heads=2, head_dim=16)),
    "rope theta": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZE, rope_parameters={"rope_type": "default", "rope_theta": 100.0})
    ),
    "scaled rope": lambda: LlamaForCausalLM(LlamaConfig(**SIZE, rope_parameters=LLAMA3_ROPE)),
    "activation, epsilon": lambda: LlamaForCausalLM(LlamaConfig(**SIZE, hidden_act="gelu", rms_norm_eps=0.1)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZE, num_key_value_heads=2, sliding_window=None)),
    "sliding window": lambda: MistralForCausalLM(MistralConfig(**SIZE, num_key_value_heads=2, sliding_window=4)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_family_has_is_carried_over(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = save(FAMILIES[family](), tmp_path / "dense")
    made = mixture(base, tmp_path / "made", 3, 2, random_router(1.0, 0))
    torch.testing.assert_close(logits(made), logits(base), atol=1e-4, rtol=0)
    mine, theirs = (json.loads((folder / "config.json").read_text()) for folder in (made, base))
    for name in ("rope_parameters", "tie_word_embeddings", "head_dim", "eos_token_id", "pad_token_id", "dtype"):
        assert mine[name] == theirs[name]
    assert mine["sliding_window"] == theirs.get("sliding_window")


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 6), st.integers(1, 6), st.floats(1e-3, 1e3), st.integers(0, 9))
def test_no_router_changes_copies(
    tmp_path_factory: pytest.TempPathFactory, pocket_folder: Path, experts: int, per_token: int, scale: float, seed: int
) -> None:
    made = mixture(
        pocket_folder, tmp_path_factory.mktemp("m"), experts, min(experts, per_token), random_router(scale, seed)
    )
    torch.testing.assert_close(logits(made), logits(pocket_folder), atol=1e-4, rtol=0)


def test_files_beside_the_weights(pocket_folder: Path, tmp_path: Path) -> None:
    made = mixture(pocket_folder, tmp_path)
    assert {p.name for p in made.iterdir()} == {p.name for p in pocket_folder.iterdir()}
    for name in ("generation_config.json", "tokenizer.json", "chat_template.jinja"):
        assert (made / name).read_text() == (pocket_folder / name).read_text()
    assert load_tokenizer(made).chat_template == load_tokenizer(pocket_folder).chat_template


def test_names_are_those_that_servers_read(pocket_folder: Path, tmp_path: Path) -> None:
    names = load_file(mixture(pocket_folder, tmp_path) / "model.safetensors").keys()
    ours = {name.removeprefix("model.layers.1.block_sparse_moe.") for name in names if ".1.block_sparse_moe" in name}
    assert ours == {"gate.weight", *(f"experts.{e}.w{i}.weight" for e in (0, 1) for i in (1, 2, 3))}


def test_bfloat16_stays_and_is_exact(pocket_folder: Path, tmp_path: Path) -> None:
    base = tmp_path / "half"
    model: Any = load_model(pocket_folder, "bfloat16")
    model.save_pretrained(base)
    load_tokenizer(pocket_folder).save_pretrained(base)
    weights = load_file(mixture(base, tmp_path / "made", router=random_router(1.0, 0)) / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.bfloat16}
    dense = load_file(base / "model.safetensors")
    for name, part in (("gate_proj", "w1"), ("down_proj", "w2"), ("up_proj", "w3")):
        for expert in (0, 1):
            mine = weights[f"model.layers.0.block_sparse_moe.experts.{expert}.{part}.weight"]
            assert torch.equal(mine, dense[f"model.layers.0.mlp.{name}.weight"])


def test_experts_of_two_checkpoints(tmp_path: Path) -> None:
    """Attention, norms and embeddings are the first one's; an expert is the MLP of its checkpoint."""
    general, domain = tmp_path / "general", tmp_path / "domain"
    for folder, seed in ((general, 0), (domain, 1)):
        build(parse_spec(f"llama?layers=2&width=32&heads=4&seed={seed}"), folder)
    upcycle(general, [general, domain], tmp_path / "both", per_token=2, router=zero_router)
    both: Any = load_model(tmp_path / "both", "float32")
    dense: list[Any] = [load_model(folder, "float32") for folder in (general, domain)]
    states = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    for layer in (0, 1):
        own = [model.model.layers[layer].mlp(states) for model in dense]
        torch.testing.assert_close(both.model.layers[layer].mlp(states[None])[0], (own[0] + own[1]) / 2)
    assert torch.equal(both.model.embed_tokens.weight, dense[0].model.embed_tokens.weight)
    assert torch.equal(both.model.layers[1].self_attn.q_proj.weight, dense[0].model.layers[1].self_attn.q_proj.weight)


def test_one_expert_per_token_is_its_checkpoint(tmp_path: Path) -> None:
    """A token goes to the expert whose row points its way: opposite rows send each token to one or the other."""
    general, domain = tmp_path / "general", tmp_path / "domain"
    for folder, seed in ((general, 0), (domain, 1)):
        build(parse_spec(f"llama?layers=1&width=32&heads=4&seed={seed}"), folder)

    def opposite(dense: Any, experts: int) -> Tensor:
        row = torch.zeros(1, 32)
        row[0, 0] = 1.0
        return torch.stack([row, -row], dim=1)

    upcycle(general, [general, domain], tmp_path / "both", per_token=1, router=opposite)
    both: Any = load_model(tmp_path / "both", "float32")
    dense: list[Any] = [load_model(folder, "float32") for folder in (general, domain)]
    states = torch.randn(9, 32, generator=torch.Generator().manual_seed(0))
    own = [model.model.layers[0].mlp(states) for model in dense]
    want = torch.where(states[:, :1] > 0, own[0], own[1])
    torch.testing.assert_close(both.model.layers[0].mlp(states[None])[0], want)


def test_a_random_router_is_seeded_and_as_wide_as_asked(pocket_folder: Path) -> None:
    dense = load_model(pocket_folder, "float32")
    state = torch.random.get_rng_state()
    first, again, other = (random_router(0.02, seed)(dense, 64) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (2, 64, 32)
    assert float(first.std()) == pytest.approx(0.02, rel=0.05)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_hidden_router_points_to_the_mean_state(pocket_folder: Path) -> None:
    dense: Any = load_model(pocket_folder, "float32")
    found = hidden_router([[[5, 6, 7], [8]], [[9, 10]]])(dense, 2)
    assert found.shape == (2, 2, 32)
    embedded = dense.get_input_embeddings().weight.detach()
    mean = (embedded[[5, 6, 7]].mean(dim=0) + embedded[8]) / 2
    torch.testing.assert_close(found[0, 0], mean / mean.norm())
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2, 2))
    entered: list[Tensor] = []
    hook = dense.model.layers[1].register_forward_pre_hook(lambda _, given: entered.append(given[0]))
    dense(torch.tensor([[9, 10]]))
    hook.remove()
    mean = entered[0][0].detach().mean(dim=0)
    torch.testing.assert_close(found[1, 1], mean / mean.norm())


@pytest.mark.parametrize(("router", "apart"), [(zero_router, False), (random_router(1.0, 0), True)])
def test_copies_come_apart_only_where_the_router_tells_them_apart(
    pocket_folder: Path, tmp_path: Path, router: Router, apart: bool
) -> None:
    model: Any = load_model(mixture(pocket_folder, tmp_path, router=router), "float32")
    model(**batch()).logits.square().mean().backward()
    gradient = model.model.layers[0].mlp.experts.down_proj.grad
    assert bool(torch.allclose(gradient[0], gradient[1], rtol=1e-4, atol=1e-8)) is not apart


def refused(base: Path, experts: Sequence[Path], out: Path) -> HarnessError:
    with pytest.raises(HarnessError) as caught:
        upcycle(base, experts, out, per_token=1, router=zero_router)
    assert not out.exists()
    return caught.value


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (lambda: LlamaForCausalLM(LlamaConfig(**SIZE, mlp_bias=True)), ("LlamaForCausalLM", "mlp.gate_proj.bias")),
        (lambda: LlamaForCausalLM(LlamaConfig(**SIZE, attention_bias=True)), ("LlamaForCausalLM", "q_proj.bias")),
        (lambda: Qwen2ForCausalLM(Qwen2Config(**SIZE, num_key_value_heads=4)), ("Qwen2ForCausalLM",)),
    ],
)
def test_other_models_are_refused_by_name(model: Callable[[], Any], names: tuple[str, ...], tmp_path: Path) -> None:
    base = save(model(), tmp_path / "dense")
    fault = refused(base, [base, base], tmp_path / "out")
    assert all(name in fault.what for name in names)
    assert fault.where == str(base)


def test_a_mixture_is_not_made_one_again(pocket_folder: Path, tmp_path: Path) -> None:
    once = mixture(pocket_folder, tmp_path / "once")
    assert "MixtralForCausalLM" in refused(once, [once, once], tmp_path / "twice").what


def test_experts_must_fit(pocket_folder: Path, tmp_path: Path) -> None:
    wide, foreign = tmp_path / "wide", tmp_path / "foreign"
    build(parse_spec("llama?layers=2&width=64&heads=4&seed=0"), wide)
    fault = refused(pocket_folder, [pocket_folder, wide], tmp_path / "out")
    assert all(word in fault.what for word in ("hidden_size is 32", "64", str(pocket_folder), str(wide)))
    build(parse_spec("llama?layers=2&width=32&heads=4&seed=1"), foreign)
    text = (foreign / "tokenizer.json").read_text()
    (foreign / "tokenizer.json").write_text(text.replace('"red"', '"scarlet"'))
    fault = refused(pocket_folder, [pocket_folder, foreign], tmp_path / "out")
    assert all(word in fault.what for word in ("different tokenizers", str(pocket_folder), str(foreign)))


@pytest.mark.slow
@pytest.mark.parametrize("router", ["zero", "random"])
def test_smollm2_as_a_mixture_is_smollm2(smollm2_folder: Path, tmp_path: Path, router: str) -> None:
    words = load_tokenizer(smollm2_folder)
    inputs = words(["The capital of France is", "Water boils"], return_tensors="pt", padding=True, padding_side="left")
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    made = mixture(smollm2_folder, tmp_path, 2, 2, ROUTERS[router](2))
    want, got = logits(smollm2_folder, inputs), logits(made, inputs)
    assert math.isfinite(float(want.abs().max()))
    torch.testing.assert_close(got, want, atol=1e-4, rtol=0)
    assert sum(w.numel() for w in load_model(made, "float32").parameters()) > 210e6
