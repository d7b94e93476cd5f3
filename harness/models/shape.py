"""A model's shape: the sizes that its config names, and what follows from them, without weights and without torch."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from harness.core.canonical import Json

FAMILIES: Mapping[str, tuple[int, bool, bool, bool]] = {
    "llama": (2, False, False, False),
    "mistral": (2, False, False, False),
    "mixtral": (2, False, False, False),
    "phi3": (2, False, False, False),
    "qwen2": (2, True, False, False),
    "qwen3": (2, False, True, False),
    "qwen3_moe": (2, False, True, False),
    "gemma2": (4, False, False, True),
    "gemma3_text": (4, False, True, True),
}
"""Class of a config -> norms of a layer as wide as the model; whether queries, keys and values have biases whatever the
config says; whether queries and keys are normalised; whether embedding and output matrix are one where the config does
not say."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a causal language model."""

    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    mlp_width: int
    """Of each expert, in a mixture."""
    experts: int = 1
    per_token: int = 1
    tied: bool = False
    """Embedding and output matrix are one."""
    layer_vectors: int = 0
    """Numbers of a layer's norms and biases."""
    norms: int = 2
    """Of a layer, as wide as the model."""
    maps: bool = False
    """Attention scores are bounded (Gemma 2), so that whole maps are computed: no fused attention knows the bound."""
    bits: int = 0
    """Of a number of the layers, where these are stored quantised; 0: they are not."""
    published: str = ""
    """The month of the table that a shape is from; empty for a shape read from a config."""

    @property
    def attention_width(self) -> int:
        """Numbers of all queries of a token."""
        return self.heads * self.head_width

    @property
    def kv_width(self) -> int:
        """Numbers of all keys of a token, and so of all values."""
        return self.kv_heads * self.head_width

    @property
    def matrix(self) -> int:
        """Numbers of the embedding, and so of the output matrix."""
        return self.vocab_size * self.width

    @property
    def attention(self) -> int:
        """Numbers of a layer's four attention matrices."""
        return 2 * self.width * (self.attention_width + self.kv_width)

    @property
    def expert(self) -> int:
        """Numbers of the three matrices of a layer's MLP, or of an expert."""
        return 3 * self.width * self.mlp_width

    @property
    def router(self) -> int:
        """Numbers of a layer's router."""
        return self.experts * self.width if self.experts > 1 else 0

    @property
    def layer(self) -> int:
        """Numbers of a layer."""
        return self.attention + self.experts * self.expert + self.router + self.layer_vectors

    @property
    def parameters(self) -> int:
        """All numbers of the model."""
        return self.layers * self.layer + self.width + self.matrix * (1 if self.tied else 2)

    @property
    def active(self) -> int:
        """Numbers that a token meets, as `train.flops` counts them: of the experts those it visits, no embedding."""
        idle = self.layers * (self.experts - self.per_token) * self.expert
        return self.parameters - idle - (0 if self.tied else self.matrix)

    def weight_bytes(self, size: int) -> float:
        """Bytes of the weights, as they are read; `size` are those of a number that is not quantised."""
        layers = self.layers * self.layer
        return size * (self.parameters - layers) + layers * (self.bits / 8 if self.bits else size)

    def adapters(self, rank: int) -> int:
        """Numbers of low-rank adapters on every linear layer but experts, routers and the output matrix."""
        rows_and_columns = 4 * self.width + 2 * self.attention_width + 2 * self.kv_width
        if self.experts == 1:
            rows_and_columns += 3 * (self.width + self.mlp_width)
        return self.layers * rank * rows_and_columns

    def mixture(self, experts: int, per_token: int) -> "Shape":
        """The shape with each MLP made into several, with a router before them."""
        return replace(self, experts=experts, per_token=per_token)


def of_config(config: Mapping[str, Json]) -> Shape | None:
    """The shape that a `config.json` describes; None for a class of models that is not in FAMILIES."""
    described, config = config, config.get("text_config") or config
    kind = str(config.get("model_type"))
    if kind not in FAMILIES or "hidden_size" not in config:
        return None
    norms, biased, normed, tied = FAMILIES[kind]
    width, heads = config["hidden_size"], config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    head_width = config.get("head_dim") or width // heads
    experts = config.get("num_local_experts") or config.get("num_experts") or 1
    mlp_width = (config.get("moe_intermediate_size") if experts > 1 else None) or config["intermediate_size"]
    vectors = norms * width + (2 * head_width if normed else 0)
    if biased or config.get("attention_bias"):
        vectors += (heads + 2 * kv_heads) * head_width + (0 if biased else width)
    if config.get("mlp_bias"):
        vectors += 2 * mlp_width + width
    said = config.get("tie_word_embeddings")
    return Shape(
        vocab_size=config["vocab_size"],
        width=width,
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        mlp_width=mlp_width,
        experts=experts,
        per_token=config.get("num_experts_per_tok") or 1 if experts > 1 else 1,
        tied=tied if said is None else said,
        layer_vectors=vectors,
        norms=norms,
        maps=config.get("attn_logit_softcapping", kind == "gemma2") not in (None, False),
        bits=_bits(described.get("quantization_config")),
    )


def _bits(quantised: Mapping[str, Json] | None) -> int:
    """Bits of a quantised weight, as methods name them; 8, as fp8 has, where a method names none."""
    if quantised is None:
        return 0
    groups = [group.get("weights") or {} for group in (quantised.get("config_groups") or {}).values()]
    named = [quantised.get("bits"), *(weights.get("num_bits") for weights in groups)]
    bits: int = next(filter(None, named), 4 if quantised.get("load_in_4bit") else 8)
    return bits


@cache
def published() -> Mapping[str, Shape]:
    """Shapes of hub repositories by name, from `shapes.csv`: for plans where no config can be had."""
    with Path(__file__).with_name("shapes.csv").open() as file:
        rows = list(csv.DictReader(file))
    shapes = {}
    for row in rows:
        config = {name: _value(row[name]) for name in row if name not in ("repository", "as_of") and row[name]}
        shape = of_config(config)
        assert shape is not None, f"shapes.csv: {row['repository']} is of no known class"
        shapes[row["repository"]] = replace(shape, published=row["as_of"])
    return shapes


def _value(text: str) -> Json:
    return {"true": True, "false": False}.get(text, int(text) if text.isdecimal() else text)
