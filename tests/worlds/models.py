"""Descriptions of public models without their weights: configs with their real sizes, tokenizers of our own making."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.canonical import Json

CORPUS = (
    "What is the sum of two and three? It is five.",
    "Explain the number, said in {braces}.",
    "So it is because é",
)
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
"""The template of Mistral's models, in short."""
TURNS = (
    "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else 'user') + "
    "'\\n' + m['content'] + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
"""Gemma's, in short."""
LLAMA3_ROPE = {"rope_type": "llama3", "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0}


@dataclass(frozen=True)
class Model:
    """What a repository of the hub has beside its weights."""

    kind: str
    """The model type of its config."""
    sizes: Mapping[str, Json]
    specials: tuple[str, ...]
    """The tokenizer's special tokens, in the order of their ids; the first `begins` and `ends` name two of them."""
    begins: str | None
    ends: str
    template: str | None = None
    architecture: str = ""
    more: Mapping[str, Json] = field(default_factory=dict)

    def config(self) -> dict[str, Json]:
        """Its config.json."""
        name = {"mistral": "Mistral", "mixtral": "Mixtral", "qwen2": "Qwen2", "gemma2": "Gemma2", "llama": "Llama"}
        ids = {token: number for number, token in enumerate(self.specials)}
        about = {"model_type": self.kind, "architectures": [self.architecture or f"{name[self.kind]}ForCausalLM"]}
        tokens = {"bos_token_id": ids.get(self.begins or ""), "eos_token_id": ids[self.ends], "pad_token_id": 0}
        return {**about, **tokens, "dtype": "bfloat16", **self.sizes, **self.more}

    def write(self, folder: Path) -> Path:
        """The folder with config, tokenizer and chat template."""
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(self.config()))
        _tokenizer(self).save_pretrained(folder)
        return folder


def sizes(vocab: int, width: int, mlp: int, layers: int, heads: int, kv: int, positions: int) -> dict[str, Json]:
    """The sizes that every config names."""
    shape = {"vocab_size": vocab, "hidden_size": width, "intermediate_size": mlp, "num_hidden_layers": layers}
    return {**shape, "num_attention_heads": heads, "num_key_value_heads": kv, "max_position_embeddings": positions}


def _tokenizer(model: Model) -> Any:
    """A byte-level BPE with the model's special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(model.specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=model.begins,
        eos_token=model.ends,
        additional_special_tokens=[t for t in model.specials if t not in (model.begins, model.ends)],
        chat_template=model.template,
        clean_up_tokenization_spaces=False,
    )


_S = ("<unk>", "<s>", "</s>")
_QWEN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_GEMMA = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>")
_LLAMA = ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>")
_MISTRAL_7B = sizes(32000, 4096, 14336, 32, 32, 8, 32768)
_LLAMA3 = {"rope_parameters": {**LLAMA3_ROPE, "rope_theta": 500000.0, "original_max_position_embeddings": 8192}}

PUBLIC: Mapping[str, Model] = {
    "mistralai/Mistral-7B-v0.1": Model("mistral", _MISTRAL_7B, _S, "<s>", "</s>", more={"sliding_window": 4096}),
    "mistralai/Mistral-7B-Instruct-v0.2": Model("mistral", _MISTRAL_7B, _S, "<s>", "</s>", INST),
    "mistralai/Mixtral-8x7B-Instruct-v0.1": Model(
        "mixtral", _MISTRAL_7B, _S, "<s>", "</s>", INST, more={"num_local_experts": 8, "num_experts_per_tok": 2}
    ),
    "Qwen/Qwen2-1.5B": Model(
        "qwen2", sizes(151936, 1536, 8960, 28, 12, 2, 131072), _QWEN, None, "<|endoftext|>",
        more={"tie_word_embeddings": True},
    ),
    "Qwen/Qwen2.5-3B": Model(
        "qwen2", sizes(151936, 2048, 11008, 36, 16, 2, 32768), _QWEN, None, "<|endoftext|>",
        more={"tie_word_embeddings": True},
    ),
    "google/gemma-2-2b": Model(
        "gemma2", sizes(256000, 2304, 9216, 26, 8, 4, 8192), _GEMMA, "<bos>", "<eos>",
        more={"head_dim": 256, "sliding_window": 4096},
    ),
    "meta-llama/Llama-3.2-3B": Model(
        "llama", sizes(128256, 3072, 8192, 28, 24, 8, 131072), _LLAMA, "<|begin_of_text|>", "<|end_of_text|>",
        more={"head_dim": 128, "tie_word_embeddings": True, **_LLAMA3},
    ),
    "nvidia/Llama-3.1-Minitron-4B-Width-Base": Model(
        "llama", sizes(128256, 3072, 9216, 32, 32, 8, 131072), _LLAMA, "<|begin_of_text|>", "<|end_of_text|>",
        more={"head_dim": 128, **_LLAMA3},
    ),
    "Skywork/Skywork-Reward-Gemma-2-27B": Model(
        "gemma2", sizes(256000, 4608, 36864, 46, 32, 16, 8192), _GEMMA, "<bos>", "<eos>", TURNS,
        "Gemma2ForSequenceClassification", {"head_dim": 128, "sliding_window": 4096, "num_labels": 1},
    ),
}  # fmt: skip
"""The models that the papers' recipes name."""
