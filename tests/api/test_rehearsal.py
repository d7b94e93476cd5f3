"""Rehearsals: what would stop a run is found in one of them, all of it, each fault by its name."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.api.recipes import load_recipe
from harness.api.rehearsal import Rehearsal, rehearse_recipe
from harness.cli.rehearse import lines
from tests.cli.command import harness
from tests.cli.judged import judge
from tests.judge.stand_in import Judge, fault
from tests.worlds import alpaca_eval, arena_hard
from tests.worlds.models import PUBLIC, sizes

ROOT = Path(__file__).parents[2]
SILENT = "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}{% endfor %}"
"""A template that leaves answers out."""
PLANTED = """\
student: $student
teacher: {{model: $teacher}}
axes:
  student: [{{good: "path:{folder}/good"}}, {{silent: "path:{folder}/silent"}}, {{short: "path:{folder}/short"}}]
  teacher: [{{first: "path:{folder}/good"}}, {{second: "path:{folder}/second"}}, {{third: "path:{folder}/third"}}]
  machine: [{{one: {{}}}}, {{three: {{processes: 3}}}}]
exclude:
  - {{student: silent, teacher: second}}
  - {{student: silent, teacher: third}}
  - {{student: short, teacher: second}}
  - {{student: short, teacher: third}}
  - {{machine: three, student: silent}}
  - {{machine: three, student: short}}
  - {{machine: three, teacher: second}}
  - {{machine: three, teacher: third}}
resources: $machine
data:
  train: {{path: {folder}/train.jsonl}}
  domains:
    law: {{path: {folder}/train.jsonl}}
    maths: {{path: {folder}/train.jsonl}}
    code: {{path: {folder}/train.jsonl}}
    medicine: {{path: {folder}/fourth.jsonl}}
train:
  - kd: {{batch_size: 32, max_length: 2048}}
  - dae:
      ratio: 0.5
      max_length: 512
      batch_size: 30
      experts:
        law: path:{folder}/good
        maths: path:{folder}/good
        code: path:{folder}/good
        medicine: path:{folder}/good
evaluate:
  - alpaca_eval: {{data: {folder}/alpaca, baseline_outputs: {folder}/alpaca/zoo/outputs.parquet}}
  - arena_hard: {{version: "2.0", data: {folder}/arena}}
judge: {{model: gpt-4, base_url: "{url}", retries: 0}}
"""
FOUND = {
    "a chat template that cannot mark responses": ("train", "student=silent", "cannot be told apart"),
    "a vocabulary mismatch in the third teacher": ("train", "teacher=third", "vocabular"),
    "a judge that refuses logprobs": ("judge", "", "logprobs"),
    "a column missing in the fourth domain": ("dataset", "", "fourth.jsonl"),
    "a benchmark folder of a wrong version": ("benchmark", "", "arena"),
    "a length that the student cannot take": ("train", "student=short", "has 1,024 positions"),
    "a GPU count that does not divide the batch": ("train", "machine=three", "3 processes cannot share a batch of 32"),
}


def plant(folder: Path) -> None:
    """Models, data and benchmarks, each fault in one of them."""
    good = PUBLIC["mistralai/Mistral-7B-Instruct-v0.2"]
    good.write(folder / "good")
    good.write(folder / "second")
    replace(good, template=SILENT).write(folder / "silent")
    replace(good, sizes=sizes(32000, 4096, 14336, 32, 32, 8, 1024)).write(folder / "short")
    replace(PUBLIC["Qwen/Qwen2-1.5B"], template=good.template).write(folder / "third")
    rows = [{"instruction": f"What is {k}?", "output": f"It is {k}."} for k in range(60)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "fourth.jsonl").write_text(
        "".join(json.dumps({"instruction": row["instruction"]}) + "\n" for row in rows)
    )
    alpaca_eval.made_up(folder / "alpaca", 12)
    arena_hard.made_up(folder / "arena")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """The rehearsal of a recipe with every fault."""
    folder = tmp_path_factory.mktemp("planted")
    plant(folder)

    def refuse(_body: object, _number: int) -> object:
        return fault(400, "logprobs are not supported with this model", "unsupported_parameter")

    with judge(folder / "ledger.sqlite") as stand_in:
        stand_in.answer = refuse  # type: ignore[assignment]
        (folder / "planted.yaml").write_text(PLANTED.format(folder=folder, url=stand_in.url))
        yield rehearse_recipe(load_recipe(folder / "planted.yaml"), jobs=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", FOUND)
def test_a_planted_fault_is_found(planted: Rehearsal, name: str) -> None:
    kind, cells, words = FOUND[name]
    met = [one for one in planted.faults if one.kind == kind and words in one.text]
    assert len(met) == 1, "\n".join(lines(planted))
    assert all(cells in cell for cell in met[0].cells)
    assert "\n" in met[0].text, "a fault has a remedy"


@pytest.mark.slow
def test_nothing_else_is_found_and_the_table_fits(planted: Rehearsal) -> None:
    told = lines(planted)
    assert len(planted.faults) == len(FOUND), "\n".join(told)
    assert all(len(line) <= 80 for line in told)
    assert any(line.startswith("train") and line.endswith("ok") for line in told)
    assert any(line.startswith("train") and line.endswith("not reached") for line in told)


def test_every_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    pocket = "pocket:llama?layers=1&width=16&heads=2"
    recipe: dict[str, Any] = {"name": "gone", "student": pocket, "data": {"train": {"path": f"{tmp_path}/train.jsonl"}}}
    held = {"held": {"path": f"{tmp_path}/held.jsonl"}}
    recipe |= {"train": [{"sft": {}}], "evaluate": [{"nll": {"sets": held}}]}
    done = rehearse_recipe(load_recipe(recipe))
    assert sorted(fault.kind for fault in done.faults) == ["benchmark", "plan"]
    assert {Path(fault.text.partition(":")[0]).name for fault in done.faults} == {"train.jsonl", "held.jsonl"}
    assert not done.rows


def test_the_quickstart_passes_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = harness(
        "rehearse", ROOT / "recipes/quickstart.yaml", "--jobs", 2, env={"TMPDIR": str(tmp_path)}, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout
    assert "no fault" in done.stdout
    assert "not rehearsed" not in done.stdout, "trainings are stopped and taken up again"
    assert list(tmp_path.iterdir()) == []


def test_one_question_is_asked_of_a_judge(tmp_path: Path) -> None:
    plant(tmp_path)
    text = (
        'student: "path:{folder}/good"\nevaluate: [{{alpaca_eval: {{version: 1, data: {folder}/alpaca, {files}}}}}]\n'
    )
    text += 'judge: {{model: gpt-4, base_url: "{url}", retries: 0}}\n'
    files = f"baseline_outputs: {tmp_path}/alpaca/zoo/outputs.parquet"

    def asked(stand_in: Judge, *more: str) -> list[dict[str, object]]:
        (tmp_path / "one.yaml").write_text(text.format(folder=tmp_path, files=files, url=stand_in.url))
        stand_in.asked.clear()
        harness("rehearse", tmp_path / "one.yaml", *more)
        return stand_in.asked

    with judge(tmp_path / "ledger.sqlite") as stand_in:
        assert len(asked(stand_in)) == 1
        assert len(asked(stand_in, "--no-judges")) == 0
