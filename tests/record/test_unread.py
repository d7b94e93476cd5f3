"""What the end of a run says of answers that were cut and of rows that no training read."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.generate.api import Answer
from harness.record.judged import Judged
from harness.record.training import trainings
from harness.record.unread import cut_answers, cut_responses, judged_thinking, of_trainings, quantised_models
from harness.stages.api import Stage


def plan() -> Any:
    """As much of a plan as is read: one cell with one training, one teacher's responses."""
    stage = SimpleNamespace(id="training", title="sft cell", params={"step": "sft"})
    cell = SimpleNamespace(name="cell", trained=[SimpleNamespace(stage=stage)])
    asked = SimpleNamespace(id="responses", kind="respond", title="responses of big")
    return SimpleNamespace(cells=[cell], stages={asked.id: asked})


def store(folder: Path) -> Any:
    return SimpleNamespace(has=lambda stage: (folder / stage).exists(), path=lambda stage: folder / stage)


@pytest.mark.parametrize(("cut", "told"), [(0, False), (2, False), (3, True), (4, True)])
def test_answers_that_mostly_reach_their_limit_are_said(cut: int, told: bool) -> None:
    ends = ("length",) * cut + ("stop",) * (4 - cut)
    answers = [Answer(str(i), ("a", "b"), ends[2 * i : 2 * i + 2], (1, 1)) for i in range(2)]
    judged = Judged("cell", "mt_bench", Stage("judge", 1, {}), answers, [])
    assert [line.split(" and ")[0] for line in cut_answers(judged)] == [
        f"mt_bench: {cut} of 4 answers of cell reached the limit of their length"
    ] * told


@pytest.mark.parametrize(
    ("text", "told"), [("a<b", False), ("<think>\na", True), ("a\n</think>\nb", True), ("`<think>` is a tag", False)]
)
def test_thinking_that_was_judged_is_said(text: str, told: bool) -> None:
    answers = [Answer("1", ("plain", text), ("stop", "stop"), (1, 1))]
    judged = Judged("cell", "mt_bench", Stage("judge", 1, {}), answers, [])
    assert [line.split(" of cell")[0] for line in judged_thinking(judged)] == ["mt_bench: 1 of 2 answers"] * told


@pytest.mark.parametrize(("cut", "told"), [(5, False), (6, True)])
def test_responses_that_mostly_reach_their_limit_are_said(tmp_path: Path, cut: int, told: bool) -> None:
    (tmp_path / "responses").mkdir()
    (tmp_path / "responses" / "data.json").write_text(json.dumps({"kept": 10, "reached_limit": cut}))
    assert [line.split(" and ")[0] for line in cut_responses(plan(), store(tmp_path))] == [
        "responses of big: 6 of 10 reached the limit of their length"
    ] * told


def test_refused_rows_are_said_once_for_each_cause(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    refused = [{"row": row, "id": f"r{row}", "reason": reason} for row, reason in ((3, "one"), (5, "two"), (9, "one"))]
    summary = {"rows": 41, "skipped": {"one": 2, "two": 1, "empty response": 4}, "refused": refused}
    (tmp_path / "training" / "training.json").write_text(json.dumps(summary))
    assert sorted(of_trainings(trainings(plan(), store(tmp_path)))) == [
        "sft cell: 1 of 41 rows were left out, first row 5 (r5): two.",
        "sft cell: 2 of 41 rows were left out, first row 3 (r3): one.",
    ]


def test_a_prompt_that_training_did_not_prepare_for_is_said(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    summary = {"rows": 1, "skipped": {}, "untaught_prompt": "<think>\n"}
    (tmp_path / "training" / "training.json").write_text(json.dumps(summary))
    (line,) = of_trainings(trainings(plan(), store(tmp_path)))
    assert line.startswith(r"sft cell: the chat template ends a prompt with '<think>\n', which stands before no")


def test_quantised_models_of_passes_are_said_once(tmp_path: Path) -> None:
    for name, config in (("eight", {"quantization_config": {"quant_method": "fp8"}}), ("plain", {})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    models = [Stage("pinned", 1, {}, title=name, path=tmp_path / name) for name in ("eight", "plain", "absent")]
    asked = [Stage(kind, 1, {"part": ""}, {"model": m}) for kind in ("reward", "measure", "answer") for m in models]
    asked.append(Stage("targets", 1, {"part": ""}, {"teacher": models[0]}))
    found: Any = SimpleNamespace(stages={str(number): stage for number, stage in enumerate(asked)})
    (line,) = quantised_models(found, store(tmp_path))
    assert line.startswith("eight: its weights are quantised (fp8): what it gave (answer, measure, reward) is of")


def test_a_quantised_teacher_is_said(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    summary = {"rows": 1, "skipped": {}, "quantised_teachers": {"reference": "awq"}}
    (tmp_path / "training" / "training.json").write_text(json.dumps(summary))
    (line,) = of_trainings(trainings(plan(), store(tmp_path)))
    assert line.startswith("sft cell: the weights of reference are quantised (awq)")


def test_nothing_to_say(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "training.json").write_text(json.dumps({"rows": 1, "skipped": {}}))
    assert list(of_trainings(trainings(plan(), store(tmp_path)))) == []
