"""Tokenizers of bytes under chat templates that behave as public families' do, and tiny models that have them."""

from pathlib import Path
from typing import Any

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TRIMS = (  # refuses a system turn, trims contents, ends a turn with what is not the end of a text
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}"
    "{{ '<|turn|>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim + '<|over|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|turn|>model\n' }}{% endif %}"
)
HEADS = (  # no line end between turns
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|head|>' + m.role + '<|body|>\n\n' + m.content | trim + '<|over|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|head|>assistant<|body|>\n\n' }}{% endif %}"
)
THINKS = (  # earlier thoughts are dropped; before the last answer stands one, if an empty one
    "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}"
    "{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}"
    "{% set parts = m.content.split('</think>') %}{% set said = parts[-1].lstrip('\n') %}"
    "{% set thought = parts[0].split('<think>')[-1].strip('\n') if parts | length > 1 else '' %}"
    "{% if loop.index0 > ns.last %}{{ '<think>\n' + thought + '\n</think>\n\n' }}{% endif %}{{ said }}"
    "{% else %}{{ m.content }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}PROMPT{% endif %}"
)
DROPS = (  # thoughts are dropped everywhere, and generation begins with one
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}"
    "{{ '<|Assistant|>' + m.content.split('</think>')[-1] + eos_token }}"
    "{% else %}{{ '<|User|>' + m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|Assistant|><think>\n' }}{% endif %}"
)
LAST = (  # the end of a text stands behind the last turn alone, as the generation prompt does
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
    "{{ '<|assistant|>\n' if add_generation_prompt else eos_token }}"
)
MARKED = (  # the marks take in the header and the line end
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% generation %}{{ '<|im_start|>assistant\n' + m.content + '<|im_end|>\n' }}{% endgeneration %}"
    "{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
DATED = "{{ 'Today is ' + strftime_now('%d %b %Y') + '.\n' }}" + HEADS
ENDLESS = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
WORDS = ENDLESS.replace("m.content }}", "m.content + '\n### End\n' }}")
"""Ends a turn with words that any text may hold."""
SPECIAL = (
    *("<|im_start|>", "<|im_end|>", "<|turn|>", "<|over|>", "<|head|>", "<|body|>", "<|end|>", "<think>", "</think>"),
    *("<|User|>", "<|Assistant|>", "<|user|>", "<|assistant|>", "<|system|>"),
)


def thinks(prompt: str = "") -> str:
    """THINKS with this text at the end of its generation prompt."""
    return THINKS.replace("PROMPT", prompt)


def tokenizer(template: str, eos: str = "<eos>", hidden: bool = True) -> Any:
    """One token a byte and one for each of SPECIAL, flagged special (so that decoding hides it) or not."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(text, normalized=False) for text in ("<bos>", "<eos>")])
    made.add_tokens([AddedToken(text, special=hidden, normalized=False) for text in SPECIAL])
    found = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<bos>", eos_token=eos)
    found.chat_template = template
    return found


def base_model(folder: Path, template: str, hidden: bool = True, seed: int = 0, width: int = 32) -> Path:
    """A tiny untrained Llama, all of whose configs name the end of a text as the end, as base models' do."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    chosen = tokenizer(template, hidden=hidden)
    config = LlamaConfig(
        vocab_size=len(chosen),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=256,
        bos_token_id=chosen.bos_token_id,
        eos_token_id=chosen.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=chosen.eos_token_id)
    model.save_pretrained(folder)
    chosen.save_pretrained(folder)
    return folder
