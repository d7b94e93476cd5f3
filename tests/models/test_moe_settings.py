"""The architecture of a student as a recipe gives it."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from harness.models.settings import ModelSettings


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"experts": 2, "per_token": 3}, "per_token 3 is more than experts 2"),
        ({"experts": 1, "per_token": 1}, "greater than or equal to 2"),
        ({"from": ["path:a"]}, "'from' has 1 models for 2 experts"),
        ({"router": "hidden"}, "a dataset for each of 2 experts, not 0"),
        ({"prompts": ["train", "domain"]}, "a random router has no prompts"),
        ({"router_scale": 0.0}, "greater than 0"),
        ({"routers": "zero"}, "Extra inputs"),
        ("sparse", "expected dense or a mapping with experts and per_token, not 'sparse'"),
    ],
)
def test_settings_that_do_not_fit(given: Any, fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        ModelSettings.model_validate_json(json.dumps({"model": "pocket:llama", "architecture": given}))


@pytest.mark.parametrize("given", [{}, {"architecture": "dense"}, {"architecture": None}])
def test_dense_is_the_default(given: dict[str, Any]) -> None:
    assert ModelSettings.model_validate_json(json.dumps({"model": "m", **given})) == ModelSettings(model="m")
