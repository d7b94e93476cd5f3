"""Which checks a recipe has, what they say in the run folder, and that they come before training."""

import json
from pathlib import Path

from harness.data.pocket import questions
from harness.plan.build import Plan, build
from harness.recipe.load import load
from harness.record.contamination import rows, warnings
from harness.stages.api import Session
from harness.stages.runner import read_order, run_stage, write_orders
from harness.store.store import Store
from tests.cli import recipes
from tests.cli.judged import write_benchmark


def planned(folder: Path, *sets: str, text: str = recipes.TINY) -> Plan:
    return build(load(recipes.write(folder, text), list(sets)))


def searched(plan: Plan) -> dict[str, set[str]]:
    """Cell -> ids of the datasets that are searched for its benchmarks' prompts."""
    return {cell.name: {check.inputs["dataset"].id for check in cell.checks} for cell in plan.cells}


def run_checks(plan: Plan, store: Store) -> None:
    for cell in plan.cells:
        for stage in (s for check in cell.checks for s in check.walk() if not s.is_leaf):
            write_orders(store, [stage])
            run_stage(store, read_order(store, stage.id), Session(), lambda *_, **__: None)


def leaky(folder: Path, *texts: str) -> Path:
    path = folder / "leaky.jsonl"
    path.write_text("".join(json.dumps({"prompt": text, "response": "red"}) + "\n" for text in texts))
    return path


def test_a_cell_is_searched_for_what_it_and_its_teacher_learned_from(tmp_path: Path) -> None:
    found = searched(planned(tmp_path))
    own, of_teacher = found["method=sft,seed=0"], found["teacher"]
    assert (len(own), len(of_teacher)) == (1, 1)
    assert own != of_teacher
    assert found["method=sft,seed=1"] == own
    assert found["method=kd,seed=0"] == own | of_teacher, "its teacher's logits come from a model trained on that"
    assert found["student"] == set(), "nothing of ours trained it"


def test_cells_share_the_checks_of_one_dataset(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    kinds = [stage.kind for stage in plan.stages.values()]
    assert kinds.count("contamination") == 2
    assert plan.asked["contamination"] == 7


def test_checks_come_before_training_and_stand_on_data_alone(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    order = list(plan.stages)
    for stage in plan.stages.values():
        if stage.kind == "train":
            own = [c for c in plan.stages.values() if c.inputs.get("dataset") is stage.inputs["data"]]
            assert own
            assert all(order.index(check.id) < order.index(stage.id) for check in own)
    checks = [stage for stage in plan.stages.values() if stage.kind == "contamination"]
    assert all(c.light and {s.kind for s in c.walk() if not s.is_leaf} == {"dataset", "contamination"} for c in checks)


def test_each_judged_benchmark_is_looked_for(tmp_path: Path) -> None:
    folder = write_benchmark(tmp_path / "mt_bench")
    both = f"evaluate=[{{pocket: {{questions: 16}}}}, {{mt_bench: {{data: {folder}}}}}]"
    plan = planned(tmp_path, both, "judge={model: gpt-4, base_url: 'http://127.0.0.1:9/v1'}")
    cell = next(c for c in plan.cells if c.name == "method=sft,seed=0")
    assert [check.params["benchmark"] for check in cell.checks] == ["pocket", "mt_bench"]


def test_teachers_responses_are_searched_too(tmp_path: Path) -> None:
    text = recipes.TINY.replace("- sft: {sft: {", "- sft: {sft: {data: teacher, ")
    plan = planned(tmp_path, text=text)
    cell = next(c for c in plan.cells if c.name == "method=sft,seed=0")
    assert {check.inputs["dataset"].kind for check in cell.checks} == {"respond", "dataset"}


def test_pocket_recipes_are_clean(tmp_path: Path) -> None:
    plan, store = planned(tmp_path), Store(tmp_path / "store")
    assert rows(plan, store) == []
    run_checks(plan, store)
    found = rows(plan, store)
    assert [(row.exact, row.ngram, row.prompts) for row in found] == [(0, 0, 16)] * 2
    assert warnings(found) == []
    by_cells = {row.cells for row in found}
    assert ("method=kd,seed=0", "method=kd,seed=1", "teacher") in by_cells


def test_a_planted_leak_is_a_row_and_a_warning(tmp_path: Path) -> None:
    asked = [item.turns[0].text for item in questions(16, 0)]
    path = leaky(tmp_path, "copy : red", *asked)
    plan, store = planned(tmp_path, f"data.train={{path: {path}}}"), Store(tmp_path / "store")
    run_checks(plan, store)
    found = {row.cells[0]: row for row in rows(plan, store)}
    row = found["method=sft,seed=0"]
    assert (row.dataset, row.benchmark, row.exact) == ("data train (leaky.jsonl)", "pocket", 16)
    example = row.examples[0]
    assert example.row == "1"
    (line,) = warnings(list(found.values()))
    where = "in data train (leaky.jsonl)"
    assert line.startswith(f"pocket: of its 16 prompts 16 occur word for word {where}, {row.ngram} by 70% or more")
    assert f"prompt {example.prompt} in row 1" in line


def test_a_leak_by_ngrams_alone_warns_too(tmp_path: Path) -> None:
    asked = [f"Answer this please : {item.turns[0].text} Thank you." for item in questions(16, 0)]
    plan = planned(tmp_path, f"data.train={{path: {leaky(tmp_path, *asked)}}}")
    store = Store(tmp_path / "store")
    run_checks(plan, store)
    found = [row for row in rows(plan, store) if "method=sft,seed=0" in row.cells]
    assert found[0].exact == 0
    assert 0 < found[0].ngram < 16, "most of these prompts are shorter than 13 words"
    assert "0 occur word for word" in warnings(found)[0]
