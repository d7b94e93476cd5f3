"""Stored verdicts to scores: the published averages, FastChat's own averages, and what must not count."""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.bench.api import SCORE_COLUMNS, Sample, samples_frame
from harness.bench.mt_bench import score_files
from harness.bench.turns import turn_scores
from harness.core.errors import HarnessError
from tests.worlds.mt_bench import World


def questions_file(folder: Path, *questions: tuple[int | str, str, int]) -> Path:
    """question.jsonl from (id, category, number of turns)."""
    path = folder / "question.jsonl"
    lines = [{"question_id": i, "category": c, "turns": [f"ask {k}" for k in range(n)]} for i, c, n in questions]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def judgments_file(folder: Path, *rows: tuple[str, int | str, int, float], name: str = "judge.jsonl") -> Path:
    """A model_judgment file from (model, question, turn, score)."""
    path = folder / name
    with path.open("w") as file:
        for model, item, turn, score in rows:
            line = {"question_id": item, "model": model, "judge": ["gpt-4", "single-v1"], "user_prompt": "p"}
            file.write(
                json.dumps(line | {"judgment": f"[[{score}]]", "score": score, "turn": turn, "tstamp": 0}) + "\n"
            )
    return path


def row(frame: pd.DataFrame, model: str, category: str) -> dict[str, Any]:
    (found,) = frame[(frame["model"] == model) & (frame["category"] == category)].to_dict("records")
    return {str(name): value for name, value in found.items()}


def fastchat_averages(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, float]]:
    """What FastChat's show_result prints: {block: {model: score}}."""
    from fastchat.llm_judge import show_result

    arguments = {"input_file": str(path), "bench_name": "mt_bench", "judge_model": "gpt-4", "model_list": None}
    capsys.readouterr()
    with pd.option_context("display.precision", 12):
        show_result.display_result_single(argparse.Namespace(**arguments))
    blocks = re.split(r"#{10} (.+?) #{10}", capsys.readouterr().out)
    found: dict[str, dict[str, float]] = {}
    for name, text in zip(blocks[1::2], blocks[2::2], strict=True):
        lines = (line.split() for line in text.splitlines())
        found[name] = {words[0]: float(words[-1]) for words in lines if len(words) >= 2 and words[0] != "model"}
    return found


def test_averages_of_stored_verdicts(mt_bench_world: World) -> None:
    """The published ones of the published verdicts, and of made-up verdicts those by which they were made."""
    frame = score_files(mt_bench_world.questions, [mt_bench_world.judgments])
    assert list(frame.columns) == ["model", "judge", *SCORE_COLUMNS]
    assert set(frame["model"]) == set(mt_bench_world.averages)
    for model, averages in mt_bench_world.averages.items():
        rows = [row(frame, model, category) for category in ("overall", "turn_1", "turn_2")]
        assert tuple(r["value"] for r in rows) == averages
        assert [(r["n"], r["total"]) for r in rows] == [(160, 160), (80, 80), (80, 80)]


def test_categories_of_stored_verdicts(mt_bench_world: World) -> None:
    """The plain mean of a category's twenty verdicts, read line by line."""
    frame = score_files(mt_bench_world.questions, [mt_bench_world.judgments])
    asked, verdicts = (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (mt_bench_world.questions, mt_bench_world.judgments)
    )
    categories = {line["question_id"]: line["category"] for line in asked}
    assert set(frame["category"]) == {"overall", "turn_1", "turn_2", *categories.values()}
    for model in mt_bench_world.averages:
        for category in set(categories.values()):
            own = [v["score"] for v in verdicts if v["model"] == model and categories[v["question_id"]] == category]
            found = row(frame, model, category)
            assert (found["value"], found["n"], found["total"]) == (pytest.approx(sum(own) / 20), 20, 20)


def test_fastchat_agrees_on_stored_verdicts(mt_bench_world: World, capsys: pytest.CaptureFixture[str]) -> None:
    ours = score_files(mt_bench_world.questions, [mt_bench_world.judgments])
    theirs = fastchat_averages(mt_bench_world.judgments, capsys)
    names = {"First turn": "turn_1", "Second turn": "turn_2", "Average": "overall"}
    assert set(theirs) == set(names)
    for block, category in names.items():
        assert theirs[block] == {m: row(ours, m, category)["value"] for m in set(ours["model"])}


def test_fastchat_agrees_on_failures_and_repeats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = questions_file(tmp_path, (1, "writing", 2), (2, "math", 2))
    rows = [("m", 1, 1, 9), ("m", 1, 1, 8.5), ("m", 1, 2, -1), ("m", 2, 1, 3), ("k", 1, 2, 2)]
    path = judgments_file(tmp_path, *rows)
    ours = score_files(asked, [path])
    theirs = fastchat_averages(path, capsys)["Average"]
    assert theirs == pytest.approx({m: row(ours, m, "overall")["value"] for m in ("m", "k")}, abs=1e-11)
    overall = row(ours, "m", "overall")
    assert (overall["value"], overall["n"], overall["total"]) == ((9 + 8.5 + 3) / 3, 3, 5)
    assert row(ours, "k", "overall")["n"] == 1
    assert row(ours, "k", "overall")["total"] == 4


def test_nothing_scored_is_null_not_zero(tmp_path: Path) -> None:
    asked = questions_file(tmp_path, (1, "writing", 2))
    frame = score_files(asked, [judgments_file(tmp_path, ("m", 1, 1, -1))])
    overall = row(frame, "m", "overall")
    assert pd.isna(overall["value"])
    assert pd.isna(overall["stderr"])
    assert (overall["n"], overall["total"]) == (0, 2)


def test_a_score_outside_the_scale_is_not_a_score(tmp_path: Path) -> None:
    asked = questions_file(tmp_path, (1, "writing", 1), (2, "writing", 1))
    frame = score_files(asked, [judgments_file(tmp_path, ("m", 1, 1, 85), ("m", 2, 1, 4))])
    assert row(frame, "m", "overall")["value"] == 4
    assert row(frame, "m", "overall")["n"] == 1


def test_a_zero_is_a_score_as_fastchat_counts_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = questions_file(tmp_path, (1, "writing", 2), (2, "writing", 1), (3, "writing", 1))
    path = judgments_file(tmp_path, ("m", 1, 1, 0), ("m", 1, 2, 5), ("m", 2, 1, 4), ("m", 3, 1, -1))
    overall = row(score_files(asked, [path]), "m", "overall")
    assert (overall["value"], overall["n"], overall["total"]) == (3, 3, 4)
    assert fastchat_averages(path, capsys)["Average"]["m"] == 3


def test_repeats_may_be_in_several_files_and_a_file_counts_once(tmp_path: Path) -> None:
    asked = questions_file(tmp_path, (1, "writing", 1))
    one = judgments_file(tmp_path, ("m", 1, 1, 4), name="one.jsonl")
    two = judgments_file(tmp_path, ("m", 1, 1, 6), name="two.jsonl")
    overall = row(score_files(asked, [one, two, one]), "m", "overall")
    assert (overall["value"], overall["n"], overall["total"]) == (5, 2, 2)


def test_judges_are_not_mixed(tmp_path: Path) -> None:
    asked = questions_file(tmp_path, (1, "writing", 1))
    one = judgments_file(tmp_path, ("m", 1, 1, 4), name="one.jsonl")
    two = judgments_file(tmp_path, ("m", 1, 1, 6), name="two.jsonl")
    two.write_text(two.read_text().replace("gpt-4", "other"))
    frame = score_files(asked, [one, two])
    overall = frame[frame["category"] == "overall"]
    assert dict(zip(overall["judge"], overall["value"], strict=True)) == {"gpt-4": 4, "other": 6}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{broken", "broken JSON line"),
        ("[1]", "must be a JSON object"),
        ('{"model": "m", "judge": ["j", "p"], "turn": 1, "score": 3, "judgment": ""}', "question_id"),
        ('{"question_id": 1, "model": "m", "judge": "j", "turn": 1, "score": 3, "judgment": ""}', "judge"),
        ('{"question_id": 1, "model": "m", "judge": ["j", "p"], "turn": 3, "score": 3, "judgment": ""}', "turn"),
        ('{"question_id": 1, "model": "m", "judge": ["j", "p"], "turn": 1, "score": null, "judgment": ""}', "score"),
        ('{"question_id": 9, "model": "m", "judge": ["j", "p"], "turn": 1, "score": 3, "judgment": ""}', "question 9"),
        ('{"question_id": 1, "model": "m", "judge": ["j", "p"], "turn": 2, "score": 3, "judgment": ""}', "turn 2"),
    ],
)
def test_a_bad_judgment_is_named_by_file_and_line(tmp_path: Path, line: str, says: str) -> None:
    asked = questions_file(tmp_path, (1, "writing", 1))
    path = judgments_file(tmp_path, ("m", 1, 1, 4))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(HarnessError, match=re.escape(says)) as caught:
        score_files(asked, [path])
    assert caught.value.where == f"{path}:2"


def test_no_judgments_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    with pytest.raises(HarnessError, match="no judgments"):
        score_files(questions_file(tmp_path, (1, "writing", 1)), [path])


def test_aggregate_takes_resampled_rows() -> None:
    """Bootstraps call aggregate with rows drawn with replacement."""
    samples = [Sample("mt_bench", "score", i, i, "writing", 1, 0, v, "ok", 1) for i, v in (("a", 2.0), ("b", 8.0))]
    frame = samples_frame(samples).iloc[[0, 0, 1]]
    scores = turn_scores(frame)
    assert list(scores.columns) == list(SCORE_COLUMNS)
    assert scores["value"].tolist() == [4.0, 4.0, 4.0]
    assert scores["category"].tolist() == ["overall", "turn_1", "writing"]
