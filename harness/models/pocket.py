"""`pocket:` models: a small Llama or Mixtral with random weights, a word-level tokenizer and a chat template.

    pocket:llama                                     the defaults
    pocket:llama?layers=2&width=64&heads=4&seed=0
    pocket:mixtral?experts=4&per_token=2

Reading a reference imports no torch; `build` does.
"""

import difflib
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl

from pydantic import Field, ValidationError, model_validator

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.seeds import derive_seed
from harness.core.settings import Settings, identity
from harness.data.pocket_words import WORDS

CONTEXT = 512
"""Positions of a pocket model, in tokens: several times the longest conversation of the world."""
PAD, UNKNOWN, START, END = "<|pad|>", "<|unknown|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML. White space only separates words, so a conversation's tokens are a prefix of its continuation's tokens."""


class PocketSpec(Settings):
    """Everything that determines a pocket model's bytes."""

    architecture: Literal["llama", "mixtral"]
    layers: int = Field(2, ge=1, le=32)
    width: int = Field(64, ge=8, le=2048)
    heads: int = Field(4, ge=1)
    """Attention heads; width must be a multiple of twice their number (rotary positions turn pairs)."""
    experts: int = Field(1, ge=1, le=64)
    """Experts per layer; 1 for a Llama."""
    per_token: int = Field(1, ge=1)
    """Experts that each token visits."""
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> "PocketSpec":
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is not a multiple of twice the heads ({self.heads})")
        if self.per_token > self.experts:
            raise ValueError(f"per_token {self.per_token} is more than experts {self.experts}")
        if self.architecture == "llama" and self.experts > 1:
            raise ValueError("a llama has one expert; write mixtral")
        return self

    def identity(self) -> dict[str, Json]:
        """The spec as JSON, from which `PocketSpec(**identity)` restores it."""
        return identity(self)


def parse_spec(text: str) -> PocketSpec:
    """The spec in the text after `pocket:`, e.g. `llama?layers=2&width=64&seed=0`; HarnessError for any other text."""
    where = f"pocket:{text}"
    architecture, _, query = text.partition("?")
    values: dict[str, Any] = {"experts": 2, "per_token": 2} if architecture == "mixtral" else {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        known = [name for name in PocketSpec.model_fields if name != "architecture"]
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            fix = f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(known)}."
            raise HarnessError(f"a pocket model has no `{key}`", where=where, fix=fix)
        if not value.isdecimal():
            raise HarnessError(f"`{key}` must be a whole number, not {value!r}", where=where)
        values[key] = int(value)
    try:
        return PocketSpec(architecture=architecture, **values)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(map(str, first["loc"]))
        raise HarnessError(
            f"{path}: {first['msg']}" if path else first["msg"].removeprefix("Value error, "),
            where=where,
            fix="Write pocket:llama?layers=2&width=64&heads=4&seed=0 or pocket:mixtral?experts=2&per_token=2.",
        ) from None


def build(spec: PocketSpec, out: Path) -> None:
    """Write the model as a Hugging Face folder: float32 safetensors, tokenizer, chat template, generation config.

    The same spec gives the same bytes under the same versions of torch and transformers.
    """
    out.mkdir(parents=True, exist_ok=True)
    tokenizer().save_pretrained(out)
    model(spec).save_pretrained(out)


def tokenizer() -> Any:
    """The pocket world's tokenizer: a token per word, split at white space, joined by a space."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate((PAD, UNKNOWN, START, END, *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=[START],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def described(spec: PocketSpec) -> dict[str, Any]:
    """The model's config, without torch."""
    shape: dict[str, Any] = {
        "model_type": spec.architecture,
        "vocab_size": len(WORDS) + 4,
        "hidden_size": spec.width,
        "intermediate_size": 2 * spec.width,
        "num_hidden_layers": spec.layers,
        "num_attention_heads": spec.heads,
        "num_key_value_heads": spec.heads,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.05,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 3,
    }
    if spec.architecture == "mixtral":
        shape |= {"num_local_experts": spec.experts, "num_experts_per_tok": spec.per_token}
    return shape


def model(spec: PocketSpec) -> Any:
    """The untrained model on the CPU; leaves torch's random state as it was."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

    shape = described(spec) | {"dtype": torch.float32}
    del shape["model_type"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("pocket model", spec.seed))
        if spec.architecture == "mixtral":
            untrained = MixtralForCausalLM(MixtralConfig(**shape))
        else:
            untrained = LlamaForCausalLM(LlamaConfig(**shape))
    untrained.generation_config = GenerationConfig(do_sample=False, eos_token_id=3, pad_token_id=0)
    return untrained
