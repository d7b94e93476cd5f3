"""Parameters of a mixture: all of them, and those that one token meets."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.core.errors import HarnessError
from harness.models.inventory import inspected, parameters
from harness.models.moe import upcycle, zero_router


def test_a_mixture_and_its_source(pocket_folder: Path, tmp_path: Path) -> None:
    upcycle(pocket_folder, [pocket_folder] * 4, tmp_path / "moe", per_token=1, router=zero_router)
    dense, sparse = inspected(pocket_folder), inspected(tmp_path / "moe")
    mlp, routers = 2 * 3 * 32 * 64, 2 * 4 * 32
    assert (dense["class"], dense["experts"], dense["per_token"]) == ("LlamaForCausalLM", None, None)
    assert dense["active_parameters"] == dense["parameters"] == parameters(pocket_folder)
    assert (sparse["class"], sparse["experts"], sparse["per_token"]) == ("MixtralForCausalLM", 4, 1)
    assert sparse["parameters"] == dense["parameters"] + 3 * mlp + routers
    assert sparse["active_parameters"] == dense["parameters"] + routers


def test_command(pocket_folder: Path, tmp_path: Path) -> None:
    upcycle(pocket_folder, [pocket_folder] * 2, tmp_path / "moe", per_token=2, router=zero_router)
    words = ["models", "inspect", str(pocket_folder), str(tmp_path / "moe"), "--format", "json"]
    rows = json.loads(CliRunner().invoke(app, words).stdout)
    assert [row["experts"] for row in rows] == [None, 2]
    assert rows[1]["parameters"] == rows[1]["active_parameters"] > rows[0]["parameters"]


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"config\.json is missing"):
        inspected(tmp_path)
