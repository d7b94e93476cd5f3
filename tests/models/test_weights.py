"""Weights written layer by layer are what transformers would have written."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from harness.core.lines import read_json
from harness.models import weights
from harness.models.load import load_model
from harness.models.pocket import build, parse_spec
from harness.train.saving import write_model

SPECS = ["llama?layers=2&width=32&heads=4", "mixtral?layers=2&width=16&heads=2&experts=3&per_token=2"]


def files(folder: Path) -> dict[str, torch.Tensor]:
    """The weights in all safetensors files of a folder."""
    return {name: weight for file in folder.glob("*.safetensors") for name, weight in load_file(file).items()}


@pytest.mark.parametrize("spec", SPECS)
def test_a_model_is_written_as_transformers_writes_it(tmp_path: Path, spec: str) -> None:
    build(parse_spec(spec), tmp_path / "base")
    model = load_model(tmp_path / "base", "float32")
    model.save_pretrained(tmp_path / "theirs")
    write_model(model, None, tmp_path / "base", tmp_path / "ours")
    ours, theirs = files(tmp_path / "ours"), files(tmp_path / "theirs")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with safe_open(tmp_path / "ours" / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert read_json(tmp_path / "ours" / "config.json") == read_json(tmp_path / "theirs" / "config.json")


@pytest.mark.parametrize("spec", SPECS)
def test_a_large_model_is_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    build(parse_spec(spec), tmp_path / "base")
    model = load_model(tmp_path / "base", "float32")
    monkeypatch.setattr(weights, "FILE_BYTES", 20_000)
    write_model(model, None, tmp_path / "base", tmp_path / "ours")
    written = sorted(tmp_path.glob("ours/*.safetensors"))
    assert len(written) > 2
    assert all(len(load_file(file)) == 1 or file.stat().st_size < 22_000 for file in written)
    index = read_json(tmp_path / "ours" / "model.safetensors.index.json")
    stored = files(tmp_path / "ours")
    assert index["weight_map"].keys() == stored.keys()
    assert index["metadata"]["total_size"] == sum(4 * weight.numel() for weight in stored.values())
    again = load_model(tmp_path / "ours", "float32")
    ids = torch.arange(4, 20)[None]
    assert torch.equal(again(input_ids=ids).logits, model(input_ids=ids).logits)


def test_a_tied_matrix_is_written_once(tmp_path: Path, pocket_folder: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    tied: Any = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(pocket_folder, tie_word_embeddings=True))
    write_model(tied, None, pocket_folder, tmp_path)
    assert "lm_head.weight" not in files(tmp_path)
    again: Any = load_model(tmp_path, "float32")
    assert again.lm_head.weight is again.model.embed_tokens.weight
    assert torch.equal(again.lm_head.weight, tied.lm_head.weight)


def test_more_than_a_layer_is_never_held(tmp_path: Path, pocket_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are taken in groups, each after the group before has been written."""
    model: Any = load_model(pocket_folder, "float32")
    groups: list[set[str]] = []
    real = weights._gathered

    def noting(layers: Any, convert: Any) -> Any:
        def converted(layer: Any) -> Any:
            groups.append(set(layer))
            return convert(layer)

        return real(layers, converted)

    monkeypatch.setattr(weights, "_gathered", noting)
    write_model(model, None, pocket_folder, tmp_path)
    assert [len(group) for group in groups] == [1, 9, 9, 1, 1]
