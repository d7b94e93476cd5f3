"""What a run's log and report say of its data files."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data.columns import in_words
from harness.models.load import load_tokenizer
from harness.plan.build import Plan, build
from harness.recipe.load import load
from harness.record.collect import collect
from harness.record.data_notes import data_notes
from harness.record.folder import run_folder
from harness.stages.api import Session
from harness.stages.runner import read_order, run_stage, write_orders
from harness.store.store import Store
from harness.train.losses import IGNORED
from tests.train.stored import stored

RECIPE = """\
name: odd
student: pocket:llama?layers=1&width=16&heads=2&seed=1
data: {train: {path: FILE}}
train: [{sft: {max_steps: 1, batch_size: 4, micro_batch_size: 4}}]
evaluate: [{nll: {sets: {held: {path: FILE}}}}]
"""
GAMES: dict[str, dict[str, Any]] = {
    "dolly": {"instruction": "Who won?", "context": "Ann beat Bob.", "response": "Ann.", "category": "closed_qa"},
    "completion": {"prompt": "Say 3.", "completion": "3!"},
    "system": {
        "conversations": [{"from": "human", "value": "Say 3."}, {"from": "gpt", "value": "3!"}],
        "system": "Answer in Latin.",
        "tools": "",
    },
}


def planned(folder: Path, rows: list[Any]) -> Plan:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = folder / "odd.yaml"
    recipe.write_text(RECIPE.replace("FILE", str(path)))
    return build(load(recipe))


def run(plan: Plan, store: Store, *kinds: str) -> list[Path]:
    """The artifacts of the plan's stages of these kinds."""
    stages = [stage for stage in plan.stages.values() if stage.kind in kinds]
    write_orders(store, stages)
    for stage in stages:
        run_stage(store, read_order(store, stage.id), Session(), lambda *_, **__: None)
    return [store.path(stage.id) for stage in stages]


@pytest.mark.parametrize(
    ("name", "seen", "learned"),
    [
        ("dolly", ["Who won?\n\nAnn beat Bob.", "Ann."], "Ann."),
        ("completion", ["Say 3.", "3!"], "3!"),
        ("system", ["Answer in Latin.", "Say 3.", "3!"], "3!"),
    ],
)
def test_what_is_trained_on_is_the_whole_row(
    tmp_path: Path, pocket_folder: Path, name: str, seen: list[str], learned: str
) -> None:
    plan, store = planned(tmp_path, [GAMES[name]] * 3), Store(tmp_path / "store")
    (folder,) = run(plan, store, "dataset")
    first = json.loads((folder / "conversations.jsonl").read_text().splitlines()[0])
    assert [message["content"] for message in first["messages"]] == seen
    tokenizer = load_tokenizer(pocket_folder)
    examples = stored(folder / "conversations.jsonl", pocket_folder, tmp_path / "tokens").examples
    assert len(examples) == 3
    labels = [label for label in examples[0]["labels"] if label != IGNORED]
    assert labels == tokenizer(f"{learned}<|im_end|>", add_special_tokens=False)["input_ids"]
    assert data_notes(plan, store) == []


def test_what_was_skipped_or_not_used_is_said_in_the_log_and_the_report(tmp_path: Path) -> None:
    rows = [{**GAMES["system"], "tools": "[{}]"}, {"messages": 3}, {"messages": [{"role": "robot"}]}]
    plan, store = planned(tmp_path, rows), Store(tmp_path / "store")
    assert data_notes(plan, store) == []
    run(plan, store, "dataset")
    lines = [
        "data train (rows.jsonl): 2 of 3 rows skipped: `messages` is a number, not a list of turns (row 2); "
        "unknown role 'robot' (row 3)",
        "data train (rows.jsonl): `tools` is not used and may change the example (rows that have it: 1)",
    ]
    assert data_notes(plan, store) == lines
    folder = run_folder(tmp_path, "odd")
    folder.path.mkdir(parents=True)
    record = collect(folder, plan, store)
    assert list(record.warnings) == lines


def test_the_record_of_a_data_set_says_what_was_read(tmp_path: Path) -> None:
    plan = planned(tmp_path, [{"prompt": "2+3?", "chosen": "5", "rejected": "6"}] * 7 + [[]])
    (folder,) = run(plan, Store(tmp_path / "store"), "dataset")
    record = json.loads((folder / "data.json").read_text())
    reason = "a list, not an object with named columns"
    assert record == {
        "rows": 8,
        "matched": 8,
        "kept": 7,
        f"skipped: {reason}": 1,
        "skipped_rows": {reason: [8]},
        "columns_used": {"prompt": 7},
        "columns_not_used": {"chosen": 7, "rejected": 7},
        "without_response": 7,
    }
    assert "no row has a response; `chosen` looks like one: `columns: {response: chosen}`" in in_words(record)
