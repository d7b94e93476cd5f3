"""Which of a run's answers people are asked to label, and what they are shown."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest

from harness.core.errors import HarnessError
from harness.judge.settings import DrawSettings
from harness.record.labels import draw_labels, read_label_lines, write_label_lines
from harness.record.run import MetricRecord, write_run
from tests.report.fake_run import JUDGE, PROGRAM_METRIC, Fake, a_record

PAIR = "alpaca_eval"
DRAW = DrawSettings(n=10)


def a_run_of_pairs(folder: Path, answers: list[str], reference: str | None = "baseline") -> Path:
    """A run whose judge compares each cell's answer with the baseline's, on twelve instructions."""
    folder.mkdir()
    metric: MetricRecord = replace(PROGRAM_METRIC, benchmark=PAIR, metric="win_rate", binary=False)
    write_run(folder / "run.json", a_record(judges=(replace(JUDGE, benchmark=PAIR),), metrics=(metric,)))
    rows = [
        {"cell": f"cell {c}", "benchmark": PAIR, "item": str(k), "category": "koala", "turn": 1, "question": f"Do {k}."}
        | {"answer": text, "reference": reference, "verdict": "m", "value": 50.0, "status": "ok"}
        for k in range(12)
        for c, text in enumerate(answers)
    ]
    pd.DataFrame(rows).to_parquet(folder / "transcripts.parquet")
    return folder


def test_a_conversation_is_shown_with_its_earlier_turn_and_without_its_model(tmp_path: Path) -> None:
    """Both turns of each drawn question; a program's benchmark is not asked about; no line says which cell it is."""
    run = Fake(questions=20, tasks=12, seeds=1).write(tmp_path / "run")
    lines = draw_labels(run, None, DRAW)
    assert {line.benchmark for line in lines} == {"mt_bench"}
    assert len({line.item for line in lines}) == 10
    later = [line for line in lines if line.turn == 2]
    assert later
    assert all(len(line.earlier) == 1 and "turn 1" in line.earlier[0][0] for line in later)
    assert all(line.earlier == () for line in lines if line.turn == 1)
    assert "cell" not in asdict(lines[0])
    items = [line.item for line in lines]
    assert items == sorted(items, key=items.index), "the answers to a question stand together"


def test_a_prefix_of_a_larger_draw_is_the_smaller_one(tmp_path: Path) -> None:
    """So labels go on where they ended."""
    run = Fake(questions=20, tasks=12, seeds=1).write(tmp_path / "run")
    small, large = (draw_labels(run, "mt_bench", DrawSettings(n=n)) for n in (10, 15))
    assert large[: len(small)] == small


def test_answers_with_one_text_are_labelled_once_and_the_baselines_own_is_a_draw(tmp_path: Path) -> None:
    """Of three cells two give the same answer, and the third the baseline's."""
    lines = draw_labels(a_run_of_pairs(tmp_path / "run", ["same", "same", "baseline"]), None, DRAW)
    assert len(lines) == 20
    assert {(line.answer, line.value) for line in lines} == {("same", None), ("baseline", 50.0)}
    assert {(line.scale, line.reference) for line in lines} == {("percent", "baseline")}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """As the audit reads it too: benchmark, item, turn, answer, value."""
    lines = draw_labels(a_run_of_pairs(tmp_path / "run", ["one", "two"]), PAIR, DRAW)
    write_label_lines(tmp_path / "labels.jsonl", lines)
    assert read_label_lines(tmp_path / "labels.jsonl") == lines
    first = json.loads((tmp_path / "labels.jsonl").read_text().splitlines()[0])
    assert {"benchmark", "item", "turn", "answer", "value"} <= first.keys()


def test_a_pair_without_the_baselines_answer_is_refused(tmp_path: Path) -> None:
    """Nobody could say which is better."""
    run = a_run_of_pairs(tmp_path / "run", ["one"], reference=None)
    with pytest.raises(HarnessError, match="does not hold what a person needs to label alpaca_eval"):
        draw_labels(run, None, DRAW)


def test_a_benchmark_that_no_model_judged_is_refused(tmp_path: Path) -> None:
    """A program's verdicts need no audit."""
    run = Fake(questions=12, tasks=12, seeds=1).write(tmp_path / "run")
    with pytest.raises(HarnessError, match="has no answers to pocket that a model judged"):
        draw_labels(run, "pocket", DRAW)
