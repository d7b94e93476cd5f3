"""Training pipelines as stages: which mixes, which passes of teachers, what cells share, and a whole line of them."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.core.lines import read_lines
from harness.models.pocket import described, parse_spec
from harness.models.shape import of_config
from harness.plan.build import Plan, build
from harness.plan.shapes import Shapes
from harness.plan.work import Works
from harness.recipe.load import load
from harness.record.training import mixes, trainings
from harness.stages.api import Session, Stage
from harness.stages.runner import read_order, run_stage, write_orders
from harness.store.store import Store

RECIPE = """\
name: tiny-dae
student: pocket:llama?layers=1&width=16&heads=2&seed=1
teacher: artifact:generalist
models:
  generalist:
    base: pocket:llama?layers=1&width=32&heads=2&seed=2
    data: {train: {pocket: {examples: 32, seed: 1}}}
    train: &made [{sft: {max_steps: 3, batch_size: 8, micro_batch_size: 8, learning_rate: 5e-3}}]
  shopper:
    base: pocket:llama?layers=1&width=32&heads=2&seed=3
    data: {train: {pocket: {examples: 32, domain_ratio: 1, seed: 2}}}
    train: *made
data:
  train: {pocket: {examples: 32, seed: 4}}
  domain: {pocket: {examples: 24, domain_ratio: 1, seed: 5}}
train:
  - kd: {targets: $targets, top_k: 1000, max_steps: 3, batch_size: 8, micro_batch_size: 8, learning_rate: 2e-3}
  - dae:
      {targets: $targets, top_k: 1000, expert: "artifact:shopper", ratio: $ratio, max_steps: 3, batch_size: 8,
       micro_batch_size: 8, learning_rate: 2e-3}
axes:
  targets: [cached]
  ratio: [0, 0.5]
  seed: [0, 1]
seed: $seed
evaluate: [{pocket: {questions: 8}}]
"""


def planned(folder: Path, *sets: str, text: str = RECIPE) -> Plan:
    path = folder / "r.yaml"
    path.write_text(text)
    return build(load(path, list(sets)))


def of_kind(plan: Plan, kind: str) -> list[Stage]:
    return [stage for stage in plan.stages.values() if stage.kind == kind]


def last(plan: Plan, cell: int) -> Stage:
    """The last training of a cell."""
    return plan.cells[cell].trained[-1].stage


def passes(stage: Stage) -> dict[str, Stage]:
    """The stored targets that a training reads, by role and domain."""
    return {name.removeprefix("targets:"): i for name, i in stage.inputs.items() if name.startswith("targets:")}


def dataset_of(targets: Stage) -> Stage:
    """The dataset that a teacher predicted."""
    return targets.inputs["tokens"].inputs["data"]


def test_what_starts_from_one_model_shares_its_tokens(tmp_path: Path) -> None:
    """Whatever it was trained to before, whatever the ratio and the seed."""
    plan = planned(tmp_path, "axes.targets=[live]")
    encoded = of_kind(plan, "encode")
    of_student = [stage for stage in encoded if stage.inputs["tokenizer"] is encoded[-1].inputs["tokenizer"]]
    assert {stage.inputs["data"].kind for stage in encoded} == {"dataset"}, "never of a mix"
    assert len(of_student) == len({stage.inputs["data"].id for stage in of_student})
    last_steps = {id(last(plan, cell).inputs[f"tokens:{part}"]) for cell in range(4) for part in (0, 1)}
    assert len(last_steps) == 2, "the general conversations' and the domain's, of four cells"


def test_every_ratio_and_seed_shares_the_passes_of_a_teacher(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    asked, unique = plan.asked["targets"], of_kind(plan, "targets")
    assert asked == 4 * 3, "of four cells: the generalist for kd, the reference and the expert for dae"
    assert len(unique) == 1 + 2 + 1, "the generalist, each seed's kd student, the expert"
    assert {dataset_of(stage).kind for stage in unique} == {"dataset"}, "never over a mix"


def test_dae_asks_each_teacher_about_its_own(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    dae = last(plan, 0)
    found = passes(dae)
    assert set(found) == {"reference:", "domain:domain"}
    mixed = dae.inputs["data"]
    assert mixed.kind == "mix"
    assert dataset_of(found["reference:"]) is mixed.inputs["general"]
    assert dataset_of(found["domain:domain"]) is mixed.inputs["domain:domain"]
    assert found["reference:"].inputs["teacher"] is plan.cells[0].trained[0].stage, "the student that kd made"
    assert not [name for name in dae.inputs if name.startswith("teacher:")], "no teacher's weights are loaded"


def test_live_teachers(tmp_path: Path) -> None:
    plan = planned(tmp_path, "axes.targets=[live]")
    assert of_kind(plan, "targets") == []
    assert {"teacher:reference", "teacher:domain"} <= set(last(plan, 0).inputs)


def test_kd_on_a_mix_asks_its_teacher_about_all(tmp_path: Path) -> None:
    step = "{kd: {data: mix, ratio: $ratio, targets: $targets}}"
    plan = planned(tmp_path, f"train=[{step}]")
    assert set(passes(last(plan, 0))) == {"teacher:", "teacher:domain"}
    assert len(of_kind(plan, "targets")) == 2
    assert last(plan, 0).params["domains"] == ["domain"]


def test_kd_without_a_divergence_has_no_targets(tmp_path: Path) -> None:
    plan = planned(tmp_path, "train=[{kd: {lambda: 0, targets: $targets, data: mix, ratio: $ratio}}]")
    assert of_kind(plan, "targets") == []


def test_several_domains(tmp_path: Path) -> None:
    domains = "{b: {pocket: {examples: 8, domain_ratio: 1}}, a: {pocket: {examples: 9, domain_ratio: 1}}}"
    experts = "{a: 'artifact:shopper', b: 'artifact:generalist'}"
    plan = planned(
        tmp_path,
        f"data={{train: {{pocket: {{examples: 32}}}}, domains: {domains}}}",
        f"train=[{{dae: {{targets: $targets, ratio: $ratio, experts: {experts}}}}}]",
    )
    dae = last(plan, 2)
    found = passes(dae)
    assert set(found) == {"reference:", "a:a", "b:b"}
    assert dae.params["domains"] == ["b", "a"], "in the order of the recipe"
    assert dae.inputs["data"].params["shares"] == [["b", 0.25], ["a", 0.25]]
    assert dataset_of(found["a:a"]).params["settings"]["pocket"]["examples"] == 9


@pytest.mark.parametrize(
    ("step", "roles"),
    [
        ("on_policy: {data: train}", {"teacher"}),
        ("on_policy: {data: mix, ratio: $ratio, expert: 'artifact:shopper'}", {"reference", "domain"}),
    ],
)
def test_on_policy_has_live_teachers(tmp_path: Path, step: str, roles: set[str]) -> None:
    axes = "{ratio: [0, 0.5], seed: [0]}" if "ratio" in step else "{seed: [0]}"
    plan = planned(tmp_path, f"train=[{{{step}}}]", f"axes={axes}")
    assert {name.removeprefix("teacher:") for name in last(plan, 0).inputs if "teacher:" in name} == roles


def test_an_answer_costs_its_writing_and_the_teacher_that_reads_it(tmp_path: Path) -> None:
    """Of a conversation of 32 tokens half is the prompt; answers of 16 tokens make rows of as many tokens."""
    student, teacher = (of_config(described(parse_spec(f"llama?layers=1&width={w}&heads=2"))) for w in (16, 32))
    assert student is not None
    assert teacher is not None
    found = []
    for sampled in (0, 0.5):
        step = f"{{on_policy: {{sampled: {sampled}, max_new_tokens: 16, max_steps: 10, batch_size: 8}}}}"
        plan = planned(tmp_path, f"train=[{step}]", "axes={seed: [0]}")
        found.append(Works(Shapes(Store(tmp_path / "store"))).of(last(plan, 0)))
    data, half = found
    assert data is not None
    assert half is not None
    assert data.flops == 80 * 32 * (6 * student.active + 2 * teacher.active)
    assert half.flops - data.flops == 40 * 32 * 2 * student.active
    plan = planned(tmp_path, "train=[{on_policy: {budget_flops: 1e9, max_new_tokens: 16}}]", "axes={seed: [0]}")
    at_budget = Works(Shapes(Store(tmp_path / "store"))).of(last(plan, 0))
    assert at_budget is not None
    assert at_budget.flops == pytest.approx(1e9)
    assert (data.decoded, half.decoded) == (0, 40 / 4 * 16 * 4 * (student.parameters + 2 * 16 * 4 * 32))


@pytest.mark.parametrize("step", ["sft: {data: mix, ratio: $ratio}", "kd: {data: mix, ratio: $ratio}"])
def test_every_step_can_train_on_a_mix(tmp_path: Path, step: str) -> None:
    plan = planned(tmp_path, f"train=[{{{step}}}]", "axes={ratio: [0, 0.5], seed: [0, 1]}")
    assert {stage.params["shares"][0][1] for stage in of_kind(plan, "mix")} == {0.0, 0.5}
    assert len(of_kind(plan, "mix")) == 2


def run(store: Store, stages: Sequence[Stage]) -> None:
    for stage in stages:
        if not store.has(stage.id):
            write_orders(store, [stage])
            run_stage(store, read_order(store, stage.id), Session(), lambda *_, **__: None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Store]:
    """KD then DAE for both ratios, live and cached, one seed: run in this process."""
    folder = tmp_path_factory.mktemp("dae")
    plan, store = planned(folder, "axes.targets=[live, cached]", "axes.seed=[0]"), Store(folder / "store")
    wanted = dict.fromkeys(s for cell in plan.cells for w in cell.trained for s in w.stage.walk() if not s.is_leaf)
    run(store, list({stage.id: stage for stage in wanted}.values()))
    return plan, store


def losses(plan: Plan, store: Store, cell: int, step: int) -> list[float]:
    return [line["loss"] for line in read_lines(store.path(plan.cells[cell].trained[step].stage.id) / "log.jsonl")]


@pytest.mark.parametrize("ratio", [0, 1])
@pytest.mark.parametrize("step", [0, 1])
def test_live_and_cached_are_one_loss(trained: tuple[Plan, Store], ratio: int, step: int) -> None:
    plan, store = trained
    labels = [(cell.cell.labels["targets"], cell.cell.labels["ratio"]) for cell in plan.cells]
    assert labels == [("live", "0"), ("live", "0.5"), ("cached", "0"), ("cached", "0.5")]
    live, cached = (losses(plan, store, cell, step) for cell in (ratio, 2 + ratio))
    # Where the student is its own reference the loss is 0, and Adam makes steps of float32's last bits.
    assert live == pytest.approx(cached, rel=1e-3, abs=1e-3)
    assert all(loss >= -1e-6 for loss in live), "a divergence"


def test_rows_and_tokens_of_each_part(trained: tuple[Plan, Store]) -> None:
    plan, store = trained
    rows = [row for row in mixes(trainings(plan, store)) if "targets=cached,ratio=0.5" in row.cell]
    assert [(row.step, row.domain, row.rows, row.share) for row in rows] == [
        ("2 dae", "general", 16, 0.5),
        ("2 dae", "domain", 16, 0.5),
    ]
    assert sum(row.token_share for row in rows) == pytest.approx(1)
    counts = json.loads((store.path(last(plan, 3).id) / "training.json").read_text())["domains"]
    assert {row.domain: row.response_tokens for row in rows} == {
        name: part["response_tokens"] for name, part in counts.items()
    }
