"""Recorded verdicts that judges are calibrated against: what is averaged, what is left out, what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.bench.alpaca_eval import EDITIONS, AlpacaEvalSettings
from harness.bench.arena_hard import ArenaHardSettings
from harness.bench.recorded import READERS
from harness.core.errors import HarnessError
from tests.bench import test_alpaca_eval as alpaca
from tests.bench import test_arena_hard as arena


def annotated(folder: Path, *rows: dict[str, Any]) -> Path:
    edition = EDITIONS[2]
    lead = {"generator_1": edition.baseline, "annotator": edition.annotator, "generator_2": "m", "output_2": "mine"}
    path = folder / "annotations.json"
    path.write_text(json.dumps([{**lead, "instruction": "instruction 0", "output_1": "a", **row} for row in rows]))
    return path


@pytest.fixture
def alpaca_settings(tmp_path: Path) -> AlpacaEvalSettings:
    return alpaca.settings(alpaca.write(tmp_path / "data", ["a", "b"]))


def test_a_second_annotation_of_an_answer_is_averaged(tmp_path: Path, alpaca_settings: AlpacaEvalSettings) -> None:
    path = annotated(tmp_path, {"preference": 1}, {"preference": 2}, {"preference": None})
    (model,) = READERS["alpaca_eval"](alpaca_settings, path, None).models
    assert model.verdicts == {("0", 1): 0.5}
    assert len(model.answers) == 1


def test_annotations_of_two_answers_of_one_model_are_refused(
    tmp_path: Path, alpaca_settings: AlpacaEvalSettings
) -> None:
    path = annotated(tmp_path, {"preference": 1}, {"preference": 2, "output_2": "another"})
    with pytest.raises(HarnessError, match="is on another answer") as caught:
        READERS["alpaca_eval"](alpaca_settings, path, None)
    assert caught.value.where == f"{path}, row 2"


def test_games_against_another_baseline_are_left_out(tmp_path: Path) -> None:
    arena.lines(tmp_path / "question.jsonl", arena.question("a"), arena.question("b"))
    arena.lines(tmp_path / "model_answer/m.jsonl", arena.answer("a", "x"), arena.answer("b", "y"))
    arena.lines(
        tmp_path / "model_judgment/j/m.jsonl",
        arena.judgment("a", "B>A", "A>B", baseline="base"),
        arena.judgment("a", "A>B", "B>A", baseline="other"),
        arena.judgment("b", "A>B", "B>A"),
    )
    own = ArenaHardSettings.model_validate_json(json.dumps({"data": str(tmp_path), "baseline": "base"}))
    (model,) = READERS["arena_hard"](own, tmp_path, "j").models
    assert model.verdicts == {("a", 1): 1.0, ("b", 1): 0.0}
