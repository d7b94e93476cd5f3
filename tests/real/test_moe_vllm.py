"""A mixture made of SmolLM2 in vLLM: it loads as it was written, and answers as transformers does."""

import importlib.util
from pathlib import Path

import pytest

from harness.generate.api import Answer, GenerateSettings, Request

PROMPTS = ("What is the capital of France?", "Name three primary colours.", "How many legs has a spider?")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (make install-vllm)")
def test_greedy_answers_are_those_of_transformers(smollm2_folder: Path, tmp_path: Path) -> None:
    from harness.generate import transformers_engine, vllm_engine
    from harness.models.moe import random_router, upcycle

    experts = [smollm2_folder] * 2
    upcycle(smollm2_folder, experts, tmp_path / "moe", per_token=2, router=random_router(0.02, 0))
    requests = [Request(text, ({"role": "user", "content": text},), 0.0, 24, 0) for text in PROMPTS]
    found: list[dict[str, str | None]] = []

    def collect(done: list[Answer]) -> None:
        found[-1] |= {answer.id: answer.turns[0] for answer in done}

    settings = GenerateSettings(dtype="float32", max_length=512)
    for folder in (smollm2_folder, tmp_path / "moe"):
        found.append({})
        transformers_engine.load(folder, settings).complete(requests, collect)
    found.append({})
    with vllm_engine.running(tmp_path / "moe", settings, tmp_path / "log") as engine:
        engine.complete(requests, collect)
    dense, ours, theirs = found
    assert "Paris" in (dense[PROMPTS[0]] or "")
    assert ours == dense
    assert theirs == ours
