"""Pocket models: references read strictly, folders of stable bytes, words in and out."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.core.canonical import file_digest
from harness.core.errors import HarnessError
from harness.data.pocket import conversations
from harness.data.pocket_words import WORDS
from harness.data.settings import PocketData
from harness.models.pocket import PocketSpec, build, parse_spec, tokenizer

SMALL = "llama?layers=1&width=16&heads=2"


def test_specs() -> None:
    assert parse_spec("llama") == PocketSpec(architecture="llama")
    assert parse_spec("llama?layers=3&width=32&seed=7").identity() == {
        "architecture": "llama", "layers": 3, "width": 32, "heads": 4, "experts": 1, "per_token": 1, "seed": 7,
    }  # fmt: skip
    assert parse_spec("mixtral").experts == 2
    assert parse_spec("mixtral?experts=4&per_token=1").per_token == 1


def test_identity_makes_the_spec_again() -> None:
    spec = parse_spec("mixtral?experts=4&seed=3")
    assert PocketSpec(**spec.identity()) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("llama?layrs=2", "Did you mean `layers`"),
        ("llama?zzz=2", "Known: layers"),
        ("llama?layers=two", "whole number"),
        ("llama?layers=", "whole number"),
        ("llama?layers=0", "layers: "),
        ("gpt?layers=2", "architecture: "),
        ("llama?width=20&heads=4", "not a multiple"),
        ("llama?experts=2", "write mixtral"),
        ("mixtral?experts=2&per_token=3", "more than experts"),
    ],
)
def test_a_wrong_spec_is_a_clear_error(text: str, message: str) -> None:
    with pytest.raises(HarnessError) as caught:
        parse_spec(text)
    assert message in str(caught.value)
    assert f"pocket:{text}" in str(caught.value)


def test_reading_a_spec_imports_no_torch() -> None:
    code = "import sys, harness.models.pocket as p; p.parse_spec('llama'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_same_spec_same_bytes_and_another_seed_other_bytes(tmp_path: Path) -> None:
    for name, spec in (("a", SMALL), ("b", SMALL), ("c", f"{SMALL}&seed=1")):
        build(parse_spec(spec), tmp_path / name)
    first, again = ({f.name: file_digest(f) for f in (tmp_path / name).iterdir()} for name in "ab")
    assert first == again
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "ac"]
    assert weights[0] != weights[1]


def test_building_leaves_the_random_state_alone(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    build(parse_spec(SMALL), tmp_path)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(("text", "architecture"), [(SMALL, "Llama"), ("mixtral?layers=1&width=16&heads=2", "Mixtral")])
def test_the_folder_loads_and_runs(tmp_path: Path, text: str, architecture: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    build(parse_spec(text), tmp_path)
    loaded: Any = AutoModelForCausalLM.from_pretrained(tmp_path)
    words: Any = AutoTokenizer.from_pretrained(tmp_path)
    assert type(loaded).__name__ == f"{architecture}ForCausalLM"
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert loaded.generation_config.eos_token_id == words.eos_token_id == words.convert_tokens_to_ids("<|im_end|>")
    assert loaded.config.vocab_size == len(words)
    logits = loaded(input_ids=torch.tensor([[5, 6, 7]])).logits
    assert logits.shape == (1, 3, len(words))
    assert torch.isfinite(logits).all()


def test_the_tokenizer_round_trips_the_world() -> None:
    words = tokenizer()
    assert words.decode(words(" ".join(WORDS))["input_ids"]) == " ".join(WORDS)
    for made in conversations(PocketData(examples=100, domain_ratio=0.5)):
        for message in made["messages"]:
            ids = words(message["content"])["input_ids"]
            assert len(ids) == len(message["content"].split())
            assert words.unk_token_id not in ids
            assert words.decode(ids) == message["content"]


def test_the_chat_template_is_chatml_and_every_turn_a_prefix_of_the_next() -> None:
    words = tokenizer()
    (made,) = conversations(PocketData(examples=1, two_turn_share=1.0))
    messages = made["messages"]
    assert words.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True) == (
        f"<|im_start|>user\n{messages[0]['content']}<|im_end|>\n<|im_start|>assistant\n"
    )
    whole = words(words.apply_chat_template(messages, tokenize=False))["input_ids"]
    assert words.unk_token_id not in whole
    for n in (1, 3):
        asked = words(words.apply_chat_template(messages[:n], tokenize=False, add_generation_prompt=True))["input_ids"]
        assert whole[: len(asked)] == asked
