"""Dense models made into mixtures of experts (sparse upcycling, arXiv 2212.05055): Llama or Mistral to Mixtral.

Each layer's MLP becomes several, with a router before them. As long as the experts are copies, the mixture computes the
same as its dense source, however the routers choose, because a token's weights over its experts add up to 1.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError
from harness.core.seeds import derive_seed
from harness.models.ends import complete
from harness.models.load import Dtype, load_model, quiet, tokenizer_difference

if TYPE_CHECKING:
    from torch import Tensor

Router = Callable[[Any, int], "Tensor"]
"""(dense model, number of experts E) -> the routers' weights (L, E, H), one matrix for each of L layers."""

_FAMILIES = ("llama", "mistral")
_CARRIED = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings", "initializer_range", "rms_norm_eps"),
    *("use_cache", "pad_token_id", "bos_token_id", "eos_token_id", "tie_word_embeddings", "sliding_window"),
    *("attention_dropout", "rope_parameters", "dtype"),
)
"""Settings that a Mixtral's config shares with a dense model's."""
_EXPERT_SHAPE = ("num_hidden_layers", "hidden_size", "intermediate_size", "hidden_act")


def upcycle(base: Path, experts: Sequence[Path], out: Path, *, per_token: int, router: Router) -> None:
    """Write a Mixtral whose experts are the MLPs of `experts` and all else is `base`, in the dtype of `base`.

    Tokenizer, chat template and generation config are those of `base`.

    Raises:
        HarnessError: a model of another family or with biases; experts of other shapes or with another tokenizer.
    """
    import torch
    from transformers import MixtralConfig, MixtralForCausalLM

    dense = _load(base)
    loaded = {folder: dense if folder == base else _load(folder, like=base) for folder in dict.fromkeys(experts)}
    for folder, model in loaded.items():
        if model is not dense:
            _check_same(base, dense, folder, model)
    carried = {name: getattr(dense.config, name) for name in _CARRIED if hasattr(dense.config, name)}
    config = MixtralConfig(**carried, num_local_experts=len(experts), num_experts_per_tok=per_token)
    routers = router(dense, len(experts))
    with torch.device("meta"):
        sparse = MixtralForCausalLM(config)
    sparse.load_state_dict(_state(dense, [loaded[folder] for folder in experts], routers), assign=True)
    sparse.tie_weights()
    sparse.generation_config = dense.generation_config
    with quiet():
        sparse.save_pretrained(out)
    complete(out, base)


def zero_router(dense: Any, experts: int) -> "Tensor":
    """Equal weights for all experts. Copies that every token visits get equal gradients then, and stay copies."""
    import torch

    return torch.zeros(dense.config.num_hidden_layers, experts, dense.config.hidden_size)


def random_router(scale: float, seed: int) -> Router:
    """Normally distributed weights with standard deviation `scale`."""

    def drawn(dense: Any, experts: int) -> "Tensor":
        import torch

        generator = torch.Generator().manual_seed(derive_seed("router", seed))
        shape = (dense.config.num_hidden_layers, experts, dense.config.hidden_size)
        return scale * torch.randn(shape, generator=generator)

    return drawn


def hidden_router(prompts: Sequence[Sequence[list[int]]]) -> Router:
    """Each expert's row in a layer is the direction of the mean hidden state that enters it, over its prompts.

    `prompts` are token ids, by expert. As in mergekit's `hidden` gate mode, states are averaged over a prompt's tokens,
    then over prompts, and the mean is given length 1.
    """

    def measured(dense: Any, experts: int) -> "Tensor":
        import torch

        assert len(prompts) == experts, "the settings check that every expert has prompts"
        means = torch.stack([_mean_states(dense, expert_prompts) for expert_prompts in prompts], dim=1)
        return torch.nn.functional.normalize(means, dim=-1)

    return measured


def _mean_states(dense: Any, prompts: Sequence[list[int]]) -> "Tensor":
    """The mean state (L, H) that enters each layer, in float32."""
    import torch

    total = torch.zeros(dense.config.num_hidden_layers, dense.config.hidden_size)
    with torch.inference_mode():
        for prompt in prompts:
            ids = torch.tensor([prompt], device=dense.device)
            # The last state is the last layer's output, which enters no layer.
            states = dense.base_model(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states[:-1]
            total += torch.stack([state[0].float().mean(dim=0) for state in states]).cpu()
    return (total / len(prompts)).clone()


def _load(folder: Path, like: Path | None = None) -> Any:
    """A dense model of a family that a Mixtral can hold, in the dtype of its files (or of those in `like`)."""
    written = json.loads(((like or folder) / "config.json").read_text())
    dtype: Dtype = "bfloat16" if (written.get("dtype") or written.get("torch_dtype")) == "bfloat16" else "float32"
    model: Any = load_model(folder, dtype)
    biases = [name for name, _ in model.named_parameters() if name.endswith("bias")]
    if model.config.model_type not in _FAMILIES or biases:
        has = f" with biases ({biases[0]}, ...)" if biases else ""
        raise HarnessError(
            f"a {type(model).__name__}{has} cannot become a mixture of experts",
            where=str(folder),
            fix="Use a dense model of the Llama or Mistral family, without biases.",
        )
    return model


def _check_same(base: Path, dense: Any, folder: Path, other: Any) -> None:
    for name in _EXPERT_SHAPE:
        base_value, other_value = getattr(dense.config, name), getattr(other.config, name)
        if base_value != other_value:
            raise HarnessError(
                f"experts of different shapes: {name} is {base_value} in {base} and {other_value} in {folder}",
                fix="Choose experts that are checkpoints of one model: a general model and a model tuned from it.",
            )
    if difference := tokenizer_difference(base, folder):
        raise HarnessError(f"experts with different tokenizers: {difference}", fix="Choose experts of one family.")


def _state(dense: Any, experts: Sequence[Any], routers: "Tensor") -> dict[str, "Tensor"]:
    """The mixture's weights by name; the gate's rows of `gate_up_proj` come before those of the up projection."""
    import torch

    state = {name: weight for name, weight in dense.state_dict().items() if ".mlp." not in name}
    for layer, router in enumerate(routers):
        mlps = [expert.model.layers[layer].mlp for expert in experts]
        at = f"model.layers.{layer}.mlp"
        gate_up = [torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]) for mlp in mlps]
        state[f"{at}.experts.gate_up_proj"] = torch.stack(gate_up)
        state[f"{at}.experts.down_proj"] = torch.stack([mlp.down_proj.weight for mlp in mlps])
        state[f"{at}.gate.weight"] = router.to(dense.dtype)
    return {name: weight.detach() for name, weight in state.items()}
