"""What generates the answers: said, recorded, and missed before anything runs."""

import sys
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.generate import engines
from harness.plan import generation
from harness.plan.build import Plan, build
from harness.recipe.load import load
from harness.store.store import Store
from tests.cli import recipes


def planned(folder: Path, generate: str) -> Plan:
    return build(load(recipes.write(folder), [f"generate={generate}"]))


def test_the_engine_is_named(tmp_path: Path) -> None:
    (row,) = generation.engines(planned(tmp_path, "{dtype: bfloat16}"))
    assert {k: row[k] for k in ("engine", "dtype", "auto")} == {
        "engine": "transformers",
        "dtype": "bfloat16",
        "auto": False,
    }
    assert generation.in_words([row]) == [f"answers by transformers {row['version']} in bfloat16"]


@pytest.mark.parametrize(
    ("visible", "engine", "why"),
    [("0", "vllm", "vLLM and a GPU are here"), ("", "transformers", "vLLM with a GPU is not here")],
)
def test_auto_is_pinned_in_every_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str, engine: str, why: str
) -> None:
    monkeypatch.setattr(engines, "has_vllm", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    text = f"{recipes.TINY}resources: {{gpus: 1}}\n"
    plan = build(load(recipes.write(tmp_path, text), ["generate={engine: auto}"]))
    pinned = [stage.params["generate"]["engine"] for stage in plan.stages.values() if "generate" in stage.params]
    assert len(pinned) == 6
    assert set(pinned) == {engine}
    rows = generation.engines(plan)
    assert len(rows) == 1
    assert f"(auto: {why})" in generation.in_words(rows)[0]


def test_a_missing_engine_is_missed_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    store = Store(tmp_path / "store")
    plan = planned(tmp_path, "{engine: vllm}")
    with pytest.raises(HarnessError, match="vLLM is not installed"):
        generation.check(plan, store)
    monkeypatch.setattr(Store, "has", lambda *_: True)
    generation.check(plan, store)  # what is there needs no engine


def test_a_name_that_is_no_engine(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="engine"):
        planned(tmp_path, "{engine: vlm}")
