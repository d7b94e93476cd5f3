"""A tiny Gemma 2 with a pocket model's tokenizer: random weights so large that each of its caps bends what it caps."""

from pathlib import Path

import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from harness.models.load import load_tokenizer
from harness.models.pocket import build, parse_spec


def write(folder: Path, seed: int = 0, window: int = 6) -> Path:
    """Write the model; of its two layers the first sees `window` tokens."""
    build(parse_spec("llama?layers=1&width=16&heads=2"), folder)
    config = Gemma2Config(
        vocab_size=len(load_tokenizer(folder)),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        sliding_window=window,
        query_pre_attn_scalar=8,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )
    torch.manual_seed(seed)
    model = Gemma2ForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.mul_(20)
    model.save_pretrained(folder)
    return folder
