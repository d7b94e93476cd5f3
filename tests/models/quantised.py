"""Folders of quantised models."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from harness.core.lines import read_json, write_json


def quantise(folder: Path) -> None:
    """Make the linear layers of a model's folder 8-bit, with a scale for each block of 32 x 32, as fp8 checkpoints."""
    stored = {}
    for name, weight in load_file(folder / "model.safetensors").items():
        stored[name] = weight
        if "_proj" in name:
            scale = weight.abs().max() / 448
            stored[name] = (weight / scale).to(torch.float8_e4m3fn)
            rows, columns = (size // 32 for size in weight.shape)
            stored[name.replace("weight", "weight_scale_inv")] = scale.repeat(rows, columns)
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    method = {"quant_method": "fp8", "weight_block_size": [32, 32], "activation_scheme": "dynamic"}
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", config | {"quantization_config": method})
