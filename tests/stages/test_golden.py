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
    ("build pocket:llama?layers=1&width=16&heads=2&seed=1", "56099280216e5060"),
    ("data train", "0640b1a611f122ad"),
    ("sft method=sft,seed=0", "7273683b6339436f"),
    ("pocket: answers of method=sft,seed=0", "c571b6b80d3717e1"),
    ("pocket: verdicts of method=sft,seed=0", "41ef6a0967237f11"),
    ("pocket: scores of method=sft,seed=0", "43f8602c220d8940"),
    ("sft method=sft,seed=1", "9fa2a9780fd4dd5d"),
    ("pocket: answers of method=sft,seed=1", "28d8d5533cc442db"),
    ("pocket: verdicts of method=sft,seed=1", "956094d011fede95"),
    ("pocket: scores of method=sft,seed=1", "ea9d951ad3808e9b"),
    ("build pocket:llama?layers=1&width=32&heads=2&seed=2", "79e603702c23578e"),
    ("data train", "88deca9e3c637a67"),
    ("sft big", "d563511888263441"),
    ("kd method=kd,seed=0", "ce45ef3f0eb46403"),
    ("pocket: answers of method=kd,seed=0", "e67c7441e223c2c4"),
    ("pocket: verdicts of method=kd,seed=0", "6ed2eaa10410c670"),
    ("pocket: scores of method=kd,seed=0", "74cdda05f2f74470"),
    ("kd method=kd,seed=1", "4560c85163a6d74a"),
    ("pocket: answers of method=kd,seed=1", "5fdfd5174e8f3069"),
    ("pocket: verdicts of method=kd,seed=1", "51c10b1c46941527"),
    ("pocket: scores of method=kd,seed=1", "49f08f05354f101d"),
    ("pocket: answers of student", "b3f455b341596a33"),
    ("pocket: verdicts of student", "ff7e164a6eed317a"),
    ("pocket: scores of student", "26688882cb3e2de0"),
    ("pocket: answers of teacher", "8f1d2e4a6f91624b"),
    ("pocket: verdicts of teacher", "00aa92eeceedb771"),
    ("pocket: scores of teacher", "e477370c14c29855"),
]
