"""Judges of the family of a model that they rank, as a run's record names them."""

import json
from pathlib import Path

import pytest

from harness.api.recipes import load_recipe
from harness.plan.build import build
from harness.record.families import same_family
from tests.cli.judged import write_benchmark

RECIPE = """\
name: family
student: {student}
{more}
evaluate: [{{mt_bench: {{data: {data}}}}}]
judge: {judge}
"""
RECORDED = """\
teacher: {recorded: {path: answers.jsonl, where: {generator: gpt4}}}
train: [{sft: {data: teacher}}]
baselines: [student]
"""


def rows(folder: Path, judge: str, student: str = "pocket:llama", more: str = "") -> list[tuple[str, str, str, str]]:
    """(cell, judge, family, role)"""
    data = folder / "mt_bench"
    if not data.exists():
        write_benchmark(data)
    recipe = folder / "family.yaml"
    recipe.write_text(RECIPE.format(student=student, judge=judge, more=more, data=data))
    found = same_family(build(load_recipe(recipe)))
    return [(row.cell, row.judge, row.family, row.role) for row in found]


def local(folder: Path, **config: str) -> str:
    """A reference to a model's folder, with a weight file that is none."""
    model = folder / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(config))
    (model / "model.safetensors").write_bytes(b"")
    return f"path:{model}"


def test_a_pocket_model_has_no_family(tmp_path: Path) -> None:
    """Though its architecture has the name of one."""
    assert rows(tmp_path, "{model: llama-3.1-405b}") == []


def test_the_folder_of_a_model_tells(tmp_path: Path) -> None:
    """What it was loaded from, before its architecture."""
    student = local(tmp_path, _name_or_path="Qwen/Qwen2.5-0.5B", model_type="llama")
    panel = "{panel: [{model: qwen-max}, {model: llama-3.1-405b}, {model: gpt-5}]}"
    ((cell, *row),) = rows(tmp_path, panel, student)
    assert cell
    assert row == ["qwen-max", "Qwen", "student"]


def test_the_teacher_counts_where_a_student_learned_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for the untrained student beside it; an auditing judge counts too."""
    monkeypatch.chdir(tmp_path)
    Path("answers.jsonl").write_text(json.dumps({"prompt": "a", "response": "b", "generator": "gpt4"}) + "\n")
    judge = "{model: claude-x, audit: {judge: {model: gpt-5}}}"
    found = rows(tmp_path, judge, more=RECORDED)
    assert [row[1:] for row in found] == [("gpt-5", "OpenAI", "teacher")]
