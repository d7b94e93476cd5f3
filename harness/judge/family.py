"""Which family of models a name belongs to, for a judge may favour the answers of its own.

Judges rate their own answers, and those of models trained on their kind's answers, too highly (Panickssery et al. 2024,
arXiv 2404.13076; Li et al. 2025, arXiv 2502.01534). A family is told by names alone: the first row of `FAMILIES` that
has a word of the name, a number behind it or not. A model under another name has no family here, and no mark.
"""

import re

FAMILIES = {
    "OpenAI": ("gpt", "chatgpt", "o1", "o3", "o4", "davinci", "openai"),
    "Anthropic": ("claude", "anthropic"),
    "Google": ("gemini", "gemma", "palm", "google"),
    "SmolLM": ("smollm",),
    "DeepSeek": ("deepseek",),
    "Qwen": ("qwen", "qwq"),
    "Mistral": ("mistral", "mixtral", "ministral", "magistral", "mistralai"),
    "Phi": ("phi",),
    "Grok": ("grok",),
    "Command": ("command", "cohere", "aya"),
    "GLM": ("glm", "chatglm"),
    "Kimi": ("kimi", "moonshot"),
    "OLMo": ("olmo",),
    "Yi": ("yi",),
    "Falcon": ("falcon",),
    "Llama": ("llama", "alpaca", "vicuna"),
}
"""Family -> words of its models' names. Llama's come last: tunings of other makers and `model_type`s hold its name."""


def family_of(*names: str) -> str | None:
    """The family that the first of these names tells of; None where none does."""
    for name in names:
        words = re.split(r"[^a-z0-9.]+", name.lower())
        for family, beginnings in FAMILIES.items():
            numbered = re.compile(f"({'|'.join(beginnings)})[0-9.]*")  # `qwen2.5`, not `phishing`
            if any(map(numbered.fullmatch, words)):
                return family
    return None
