"""How answers ended stands beside samples and scores, per category, and over complete answers alone."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.bench.api import Sample, samples_frame
from harness.bench.pocket import BENCHMARK, PocketSettings
from harness.generate.api import Answer
from harness.record.endings import beside, of_answers, of_measured, with_endings
from harness.record.tables import SHARES

BENCH = BENCHMARK.open(PocketSettings(), {})
ANSWERS = [
    Answer("a", ("yes", "no"), ("stop", "length"), (1, 1)),
    Answer("b", ("", None), ("stop", "unfinished"), (1, 1)),
    Answer("c", (None, None), ("error: x", "error: an earlier turn has no answer"), (0, 0)),
]


def samples() -> pd.DataFrame:
    value = {"yes": 100.0, "no": 0.0, "": 0.0, None: None}
    rows = (("a", "count"), ("b", "copy"), ("c", "copy"))
    return samples_frame(
        [
            Sample("pocket", "general_score", item, item, category, turn, 0, value[text], "ok", 1)
            for (item, category), answer in zip(rows, ANSWERS, strict=True)
            for turn, text in enumerate(answer.turns, 1)
        ]
    )


def test_each_sample_has_the_ending_of_its_turn() -> None:
    known = with_endings(samples(), of_answers(ANSWERS))
    assert known["ending"].tolist() == ["complete", "cut", "empty", "unfinished", "failed", "failed"]
    unknown = with_endings(samples(), of_answers([Answer("a", ("yes",))]))
    assert unknown["ending"].isna().all(), "an answer that does not say how it ended"


def test_shares_and_the_score_over_complete_answers_stand_beside_each_score() -> None:
    known = with_endings(samples(), of_answers(ANSWERS))
    scores = beside(BENCH.aggregate(known), known, BENCH)
    rows: dict[Any, Any] = {row["category"]: row for row in scores.to_dict("records")}
    shares = {name: [round(row[share], 3) for share in SHARES] for name, row in rows.items()}
    assert shares["overall"] == [0.167, 0.167, 0.167]
    assert shares["turn_2"] == [0.333, 0.0, 0.333]
    assert shares["count"] == [0.5, 0.0, 0.0]
    overall = rows["overall"]
    assert (overall["value"], overall["n"]) == (pytest.approx(100 / 3), 3)
    assert (overall["complete_value"], overall["complete_n"]) == (100, 1)
    assert pd.isna(rows["copy"]["complete_value"]), "it has no complete answer"


def test_a_score_without_known_answers_has_none_of_it() -> None:
    unknown = with_endings(samples(), {})
    scores = beside(BENCH.aggregate(unknown), unknown, BENCH)
    assert scores[["cut", "empty", "unfinished", "complete_value", "complete_n"]].isna().all(axis=None)


def test_what_a_measured_benchmark_generated(tmp_path: Path) -> None:
    assert of_measured(tmp_path) == {}
    (tmp_path / "files").mkdir()
    rows = ({"item": "t:0", "question": "", "ending": "cut"}, {"item": "t:1", "question": ""})
    (tmp_path / "files" / "transcripts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert of_measured(tmp_path) == {("t:0", 1): "cut"}
