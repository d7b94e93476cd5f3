"""Mixtures in a plan: who is made one, whose routers are read, and what the run folder says of them."""

from pathlib import Path

import pandas as pd
import pytest

from harness.core.errors import HarnessError
from harness.models.pocket import build as build_pocket
from harness.models.pocket import parse_spec
from harness.models.settings import ModelSettings
from harness.plan import experts
from harness.plan.build import Plan, build
from harness.recipe import RecipeError, load
from harness.record.collect import expert_loads
from harness.record.tables import EXPERTS
from harness.stages.api import Session, Stage
from harness.stages.model import weights
from harness.stages.runner import read_order, run_stage, write_orders
from harness.store.store import Store
from tests.stages.tiny_gguf import write_tiny_gguf

RECIPE = """\
student: {model: "pocket:llama?layers=1&width=16&heads=2&seed=1", architecture: $architecture}
teacher: {model: "pocket:mixtral?layers=1&width=16&heads=2&seed=3"}
models:
  shop:
    base: pocket:llama?layers=1&width=16&heads=2&seed=1
    data: {train: {pocket: {examples: 16, domain_ratio: 1.0}}}
    train: [{sft: {max_steps: 1, batch_size: 4, micro_batch_size: 4}}]
data: {train: {pocket: {examples: 16}}, domain: {pocket: {examples: 12, domain_ratio: 1.0}}}
train: [{sft: {max_steps: 1, batch_size: 4, micro_batch_size: 4, router_loss: $balance}}]
axes:
  architecture:
    - dense
    - copies: {experts: 4, per_token: 1}
    - both: {from: ["pocket:llama?layers=1&width=16&heads=2&seed=1", "artifact:shop"]}
    - hidden: {router: hidden, prompts: [train, domain]}
  balance: [0.0, 0.01]
exclude:
  - {architecture: dense, balance: 0.01}
baselines: [student, teacher]
evaluate: [{pocket: {questions: 8}}]
"""

ARCHITECTURES = ("copies", "both", "hidden")


def planned(folder: Path, *sets: str) -> Plan:
    path = folder / "r.yaml"
    path.write_text(RECIPE)
    return build(load(path, list(sets)))


def start(plan: Plan, cell: str) -> Stage:
    """What a cell's training starts from."""
    (found,) = [c for c in plan.cells if c.name == cell]
    return found.trained[0].stage.inputs["student"] if found.trained else found.model.stage


def test_each_value_of_the_axis_is_a_student(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    dense, copies, both, hidden = (start(plan, f"architecture={a},balance=0.0") for a in ("dense", *ARCHITECTURES))
    assert dense.kind == "pocket_model"
    assert [stage.kind for stage in (copies, both, hidden)] == ["upcycle"] * 3
    assert list(copies.inputs) == ["model"]
    assert (copies.params["experts"], copies.params["per_token"], copies.params["router"]) == (4, 1, "random")
    assert both.inputs["expert:0"] is both.inputs["model"] is dense
    assert (both.inputs["expert:1"].kind, both.params["parts"]["expert:1"]) == ("train", "model")
    assert [hidden.inputs[f"prompts:{i}"].title for i in (0, 1)] == ["data train", "data domain"]
    assert start(plan, "architecture=both,balance=0.01") is both, "one for all cells"


def test_untrained_rows_are_the_same_mixtures(tmp_path: Path) -> None:
    """Data and models that a mixture is made from belong to its baseline too."""
    plan = planned(tmp_path)
    for architecture in ("dense", *ARCHITECTURES):
        assert start(plan, f"student={architecture}") is start(plan, f"architecture={architecture},balance=0.0")


def test_routers_are_read_where_there_are_any(tmp_path: Path) -> None:
    read = {cell.name: cell.evaluated[0].routing for cell in planned(tmp_path).cells}
    dense = {"architecture=dense,balance=0.0", "student=dense"}
    assert {name for name, stage in read.items() if stage is None} == dense
    assert len({stage.id for stage in read.values() if stage}) == len(read) - len(dense)
    assert "teacher" in read


def test_what_has_routers(tmp_path: Path) -> None:
    def found(reference: str) -> bool | None:
        return experts.routed(weights(ModelSettings(model=reference), {}).stage)

    for name, spec in (("dense", "llama?width=16&heads=2"), ("mixture", "mixtral?width=16&heads=2")):
        build_pocket(parse_spec(spec), tmp_path / name)
    assert found("pocket:mixtral") is True
    assert found("pocket:llama") is False
    assert found(f"path:{tmp_path / 'mixture'}") is True
    assert found(f"path:{tmp_path / 'dense'}") is False
    assert found(f"gguf:{write_tiny_gguf(tmp_path / 'tiny.gguf')}") is None
    (tmp_path / "t.jinja").write_text("{{ messages }}")
    settings = ModelSettings(model="pocket:mixtral", chat_template=str(tmp_path / "t.jinja"))
    assert experts.routed(weights(settings, {}).stage) is True


def test_a_router_loss_without_experts_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(
        HarnessError, match=r"sft has a router_loss and its student pocket:llama.* has no experts"
    ) as at:
        planned(tmp_path, "exclude=[]")
    assert at.value.where == "architecture=dense,balance=0.01"
    with pytest.raises(HarnessError, match="has no experts") as at:
        planned(tmp_path, "models.shop.train.0.sft.router_loss=0.1")
    assert at.value.where == "shop"


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("{experts: 2, per_token: 3}", "per_token 3 is more than experts 2"),
        ("{expert: 2}", "student.architecture.expert: unknown key; did you mean 'experts'?"),
        ("moe", "expected dense or a mapping with experts and per_token, not 'moe'"),
        ("{router: hidden, prompts: [train, shop]}", "student.architecture.prompts[1]: the recipe has no data.shop"),
        ("{from: ['pocket:a', 'artifact:none']}", "student.architecture.from[1]: no model 'none' in models"),
        ("{from: ['pocket:a', 'here']}", "student.architecture.from[1]: 'here' is not a model reference"),
        ("{from: ['pocket:a', 'endpoint:x']}", "student.architecture.from[1]: a model behind an endpoint"),
    ],
)
def test_faults_name_their_key(tmp_path: Path, value: str, fault: str) -> None:
    with pytest.raises(RecipeError) as caught:
        planned(tmp_path, f"student.architecture={value}", "axes={balance: [0.0]}", "exclude=[]")
    assert fault in str(caught.value)


def test_rows_of_the_run_folder(tmp_path: Path) -> None:
    plan, store = planned(tmp_path), Store(tmp_path / "store")
    assert expert_loads(plan, store) == []
    for name in ("teacher", "student=copies"):
        (routing,) = [cell.evaluated[0].routing for cell in plan.cells if cell.name == name]
        assert routing is not None
        for stage in (s for s in routing.walk() if not s.is_leaf and not store.has(s.id)):
            write_orders(store, [stage])
            run_stage(store, read_order(store, stage.id), Session(), lambda *_, **__: None)
    rows = pd.concat(expert_loads(plan, store))[list(EXPERTS.columns)]
    assert set(rows["cell"]) == {"teacher", "student=copies"}
    assert set(rows["benchmark"]) == {"pocket"}
    overall = rows[(rows["category"] == "overall") & (rows["cell"] == "student=copies")]
    assert overall["expert"].tolist() == [0, 1, 2, 3]
    assert overall["share"].sum() == pytest.approx(1)
