"""Every stage kind still puts out what it did, or its version is a new one; and stages are still called the same.

Where one of these fails: is the change wanted? Then raise the kind's version (in its `KIND`), since stores hold what
the old code made, and run `python -m tests.stages.golden`.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.plan.build import build
from harness.recipe.load import load
from harness.stages.registry import KINDS
from tests.cli import recipes
from tests.stages import golden

GOLDEN: dict[str, Any] = json.loads(golden.GOLDEN.read_text())


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every stage of the golden plan, run here."""
    import torch

    torch.set_num_threads(1)
    return golden.fingerprints(tmp_path_factory.mktemp("golden"))


def same(was: Any, now: Any) -> bool:
    """Equal, numbers to a tenth of a percent: CPUs add up in different orders."""
    if isinstance(was, dict):
        return isinstance(now, dict) and was.keys() == now.keys() and all(same(was[k], now[k]) for k in was)
    if isinstance(was, list):
        return isinstance(now, list) and len(was) == len(now) and all(map(same, was, now))
    if isinstance(was, float):
        return isinstance(now, float) and bool(now == pytest.approx(was, rel=1e-3, abs=1e-5))
    return bool(was == now)


def test_every_kind_is_in_it() -> None:
    assert {was["kind"] for was in GOLDEN.values()} == set(KINDS)


@pytest.mark.parametrize("name", GOLDEN)
def test_output(now: dict[str, Any], name: str) -> None:
    was, here = GOLDEN[name], now[name]
    assert was["version"] == here["version"], "a new version: run `python -m tests.stages.golden`"
    differing = [file for file, old in was.get("out", {}).items() if not same(old, here["out"].get(file))]
    assert differing == [], f"`{was['kind']}` puts out something else under the same version"
    assert was.get("out", {}).keys() == here.get("out", {}).keys()


@pytest.mark.parametrize("name", GOLDEN)
def test_id(now: dict[str, Any], name: str) -> None:
    assert now[name]["asked"] == GOLDEN[name]["asked"], (
        "the same stage has a new name: every store would build it again"
    )


def test_ids_of_a_recipe(tmp_path: Path) -> None:
    """From YAML to ids: a default that changes, or a setting that becomes identity, is seen here."""
    plan = build(load(recipes.write(tmp_path), []))
    assert [(stage.title, stage.id[:16]) for stage in plan.stages.values()] == RECIPE_IDS


def test_a_change_is_seen(tmp_path: Path) -> None:
    """The fingerprint itself: a weight, a letter, a file more."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    save_file({"w": torch.ones(4), "v": torch.arange(4.0)}, folder / "model.safetensors")
    was = golden.fingerprint(folder)
    save_file({"w": torch.ones(4) * 1.00001, "v": torch.arange(4.0)}, folder / "model.safetensors")
    assert same(was, golden.fingerprint(folder)), "the last bits are a matter of the CPU"
    save_file({"w": torch.ones(4) * 1.01, "v": torch.arange(4.0)}, folder / "model.safetensors")
    assert not same(was, golden.fingerprint(folder))
    save_file({"w": torch.ones(4), "v": torch.arange(4.0)}, folder / "model.safetensors")
    (folder / "a.txt").write_text("b")
    assert not same(was, golden.fingerprint(folder))
    (folder / "a.txt").write_text("a")
    assert same(was, golden.fingerprint(folder))
    (folder / "b.txt").write_text("b")
    assert not same(was, golden.fingerprint(folder))


RECIPE_IDS = [
    ("data train", "dbd1e8245f2c715a"),
    ("pocket: prompts in data train", "9db81f5450edd8b0"),
    ("build pocket:llama?layers=1&width=16&heads=2&seed=1", "56099280216e5060"),
    ("sft method=sft,seed=0", "eaffc4778a907383"),
    ("pocket: answers of method=sft,seed=0", "31fec199c76a79a1"),
    ("pocket: verdicts of method=sft,seed=0", "7d0d82e9a6ff2b7a"),
    ("pocket: scores of method=sft,seed=0", "073c70a190e74e44"),
    ("sft method=sft,seed=1", "f53231efde5c005b"),
    ("pocket: answers of method=sft,seed=1", "fbad6e5ad7280f37"),
    ("pocket: verdicts of method=sft,seed=1", "d3fa8525efd88d38"),
    ("pocket: scores of method=sft,seed=1", "02eaec12e2506fc5"),
    ("data train", "8eae7d45183f8ad8"),
    ("pocket: prompts in data train", "8b7aa2ee7d4108c2"),
    ("build pocket:llama?layers=1&width=32&heads=2&seed=2", "79e603702c23578e"),
    ("sft big", "83c0b88e1321e686"),
    ("kd method=kd,seed=0", "412b206a35436aa4"),
    ("pocket: answers of method=kd,seed=0", "971e18b91f5f0106"),
    ("pocket: verdicts of method=kd,seed=0", "bae98e04479e98ee"),
    ("pocket: scores of method=kd,seed=0", "970642e011bb7ef2"),
    ("kd method=kd,seed=1", "4c3a5ce2654d27f7"),
    ("pocket: answers of method=kd,seed=1", "ec188ebd585e1025"),
    ("pocket: verdicts of method=kd,seed=1", "57c6f4951fd76c18"),
    ("pocket: scores of method=kd,seed=1", "8ddb314c6b8fa985"),
    ("pocket: answers of student", "b3f455b341596a33"),
    ("pocket: verdicts of student", "ff7e164a6eed317a"),
    ("pocket: scores of student", "48d46b45a3459ac3"),
    ("pocket: answers of teacher", "eb6693d0707eff93"),
    ("pocket: verdicts of teacher", "8a7f1dc63946ea41"),
    ("pocket: scores of teacher", "e69a92dd882f1660"),
]
