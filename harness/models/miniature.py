"""A model in miniature: the same class, config keys, tokenizer and chat template, with few and narrow layers.

A miniature has random weights and says nothing of the model's quality. It goes through every stage that the model would
go through, in seconds: what does not fit together (a tokenizer, a template, a class, a shape) fails there too.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core.canonical import Json
from harness.core.errors import HarnessError, brief
from harness.models.load import quiet
from harness.models.refs import model_files

_LAYERS, _KV_HEADS, _GROUP, _HEAD_WIDTH, _EXPERTS = 2, 2, 8, 8, 8
"""At most so many layers, heads of keys and values, heads of queries for each, numbers of a head, experts."""


def miniature(source: Path, out: Path) -> None:
    """Write a miniature of the model that the folder `source` describes; `source` needs no weights.

    Vocabulary, positions, sliding windows, tied matrices and the ratio of query heads to key heads stay.

    Raises:
        HarnessError: transformers has no such class, or cannot make it this small.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    try:
        config = AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False)
        small = type(config).from_dict(_shrunk(config))
        scores = any("ForSequenceClassification" in name for name in config.architectures or ())
        auto: Any = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = auto.from_config(small, dtype=config.dtype or torch.float32, trust_remote_code=False)
            with torch.no_grad():
                model(input_ids=torch.zeros(1, 2, dtype=torch.long))
            model.save_pretrained(out)
    except Exception as error:  # a config that transformers does not know can fail in any way
        what = f"no miniature can be made of this model ({type(error).__name__}: {brief(error)})"
        raise HarnessError(what, where=str(source), fix="Name a model of a class that transformers has.") from error
    for file in model_files(source):
        if "safetensors" not in file.name and file.name != "config.json":
            shutil.copyfile(file, out / file.name)


def _shrunk(config: Any) -> dict[str, Json]:
    """The config as a mapping, its sizes made small; those of a language model inside it too."""
    described: dict[str, Json] = config.to_dict()
    described.pop("quantization_config", None)
    text = config.get_text_config()
    inner = described if text is config else described["text_config"]
    names: Mapping[str, str] = text.attribute_map
    for name, value in _sizes(text).items():
        key = names.get(name, name)
        if inner.get(key) is not None:
            inner[key] = value
    return described


def _sizes(config: Any) -> dict[str, Json]:
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    few_kv = min(kv_heads, _KV_HEADS)
    few = few_kv * min(heads // kv_heads, _GROUP)
    width = _HEAD_WIDTH
    if any(isinstance(value, list) for value in (getattr(config, "rope_parameters", None) or {}).values()):
        width = getattr(config, "head_dim", None) or config.hidden_size // heads  # a factor for each pair of numbers
    if getattr(config, "qk_rope_head_dim", None):
        width = 0  # such attention has other widths, which stay
    layers, kinds = _layers(config)
    experts = ("num_local_experts", "num_experts", "n_routed_experts")
    return {
        "num_hidden_layers": layers,
        "layer_types": kinds,
        "num_attention_heads": few,
        "num_key_value_heads": few_kv,
        **({"head_dim": width} if width else {}),
        "hidden_size": few * (width or _HEAD_WIDTH),
        "intermediate_size": 2 * few * (width or _HEAD_WIDTH),
        "moe_intermediate_size": few * (width or _HEAD_WIDTH),
        **{name: min(getattr(config, name, None) or 1, _EXPERTS) for name in experts},
    }


def _layers(config: Any) -> tuple[int, list[str] | None]:
    """How many layers, so that every kind of layer is among them; and their kinds, where the config lists these."""
    kinds = getattr(config, "layer_types", None)
    firsts = [list(kinds).index(kind) + 1 for kind in dict.fromkeys(kinds)] if kinds else []
    layers = min(config.num_hidden_layers, max(_LAYERS, *firsts, 0))
    return layers, list(kinds[:layers]) if kinds else None
