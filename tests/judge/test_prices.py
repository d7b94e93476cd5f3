"""What a call costs by the list of `genai-prices`, and of when the list is."""

import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage, calc_price

from harness.judge.prices import PRICE_LIST, Price, price_of
from harness.judge.settings import JudgeSettings
from harness.judge.standing import shutdowns

GATEWAY = "https://gateway.example/v1"


def price(model: str, **values: Any) -> Price | None:
    return price_of(JudgeSettings.model_validate_json(json.dumps({"model": model, **values})))


def usd(model: str, prompt: int, reply: int, **values: Any) -> float:
    found = price(model, **values)
    assert found is not None
    return found.cost(prompt, reply)


def test_the_list_is_the_pinned_one_and_says_when() -> None:
    version, month = PRICE_LIST
    assert importlib.metadata.version("genai-prices") == version
    assert f'"genai-prices=={version}"' in (Path(__file__).parents[2] / "pyproject.toml").read_text()
    found = price("gpt-4.1")
    assert found is not None
    assert found.as_of == f"{month}, genai-prices {version}"
    assert re.fullmatch(r"20\d\d-\d\d", month)


def test_published_prices() -> None:
    assert usd("gpt-4", 1_000_000, 0) == 30.0
    assert usd("gpt-4-1106-preview", 1000, 1000) == pytest.approx(0.04)
    assert usd("GPT-4.1", 1_000_000, 1_000_000) == 10.0


@pytest.mark.parametrize("prompt", [1, 1000, 272_000, 272_001, 400_000])
def test_a_long_prompt_costs_what_the_list_says(prompt: int) -> None:
    """Beyond a length every token of a call is dearer."""
    listed = calc_price(Usage(input_tokens=prompt, output_tokens=100), "gpt-5.6-sol", provider_id="openai")
    assert usd("gpt-5.6-sol", prompt, 100) == pytest.approx(float(listed.total_price))


def test_a_batch_is_half_the_price_where_the_list_has_one() -> None:
    for model in ("gpt-4.1", "gpt-6.1-sol", "gpt-5.6-sol"):
        for prompt in (1000, 300_000):
            assert usd(model, prompt, 100, batch=True) == pytest.approx(usd(model, prompt, 100) / 2)
    assert usd("gpt-5.3", 1000, 100, batch=True) == usd("gpt-5.3", 1000, 100), "the list knows no other"


def test_a_gateway_passes_a_closed_models_price_on_and_says_nothing_of_an_open_one() -> None:
    assert usd("gpt-4.1", 10**6, 0, base_url=GATEWAY) == 2.0
    assert price("gpt-oss-120b", base_url=GATEWAY) is None
    assert price("mistral-large-latest", base_url=GATEWAY) is None
    assert usd("mistral-large-latest", 10**6, 0, base_url="https://api.mistral.ai/v1") > 0


def test_nobody_knows_the_price_of_an_unknown_model_or_of_one_that_writes_no_text() -> None:
    assert price("mystery") is None
    assert price("mystery", base_url=GATEWAY) is None
    assert price("text-embedding-3-large") is None


def test_a_judge_that_we_serve_costs_nothing() -> None:
    assert usd("path:weights", 10**6, 10**6, serve={}) == 0.0


def test_what_is_named_in_a_dead_models_place_lives_and_has_a_price() -> None:
    for shutdown in shutdowns().values():
        assert shutdown.instead not in shutdowns()
        assert price(shutdown.instead) is not None
        assert shutdown.source.startswith("https://")
        assert re.fullmatch(r"20\d\d-\d\d", shutdown.as_of)
