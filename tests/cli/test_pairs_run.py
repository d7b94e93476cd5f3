"""`harness run` on the benchmarks that compare two answers, against a stand-in for the judge's endpoint."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aiohttp import web

from harness.bench.arena_hard import score_files
from tests.cli import judged
from tests.cli.command import harness
from tests.judge.stand_in import CANARY, reply

RECIPE = """\
name: pairs
student: pocket:llama?layers=1&width=16&heads=2&seed=1
evaluate:
- arena_hard: {{data: {folder}/arena, baseline: base, max_new_tokens: 4}}
- mt_bench_pairwise: {{data: {folder}/mt_bench, baseline: {folder}/base.jsonl, max_new_tokens: 4}}
judge: {{model: gpt-4, base_url: {url}, api_key_env: TEST_JUDGE_KEY, retries: 0, concurrency: 1}}
"""
SECOND = "{question_1} {answer_a_1} {answer_b_1} {question_2} {answer_a_2} {answer_b_2}"
PROMPTS = {
    "pair-v2": "{question} {answer_a} {answer_b}",
    "pair-math-v1": "{question} {answer_a} {answer_b} {ref_answer_1}",
    "pair-v2-multi-turn": SECOND,
    "pair-math-v1-multi-turn": SECOND + "{ref_answer_1} {ref_answer_2}",
}


def lines(path: Path, *records: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(r) + "\n" for r in records)


def answer(body: dict[str, Any], _n: int) -> web.Response:
    """The model is significantly better in Arena-Hard; in MT-Bench A is always better, whoever that is."""
    system, user = (message["content"] for message in body["messages"])
    if "[[A>>B]]" not in system:
        return reply("[[A]]")
    if "unclear" in user:
        return reply("I cannot say.")
    return reply("[[B>A]]" if "Assistant A's Answer|>\nbaseline" in user else "[[A>>B]]")


@pytest.mark.slow
def test_a_run_with_a_judge_of_pairs(tmp_path: Path) -> None:
    data = judged.write_benchmark(tmp_path / "mt_bench")
    prompts = ({"name": n, "system_prompt": "Judge.", "prompt_template": t} for n, t in PROMPTS.items())
    lines(data / "judge_prompts.jsonl", *prompts)
    choices = [{"index": 0, "turns": ["x", "y"]}]
    stored = ({"question_id": i, "model_id": "base", "choices": choices} for i, _, _ in judged.QUESTIONS)
    lines(tmp_path / "base.jsonl", *stored)
    asked = {"a": "Say a", "b": "Say b", "c": "Be unclear"}
    lines(tmp_path / "arena/question.jsonl", *({"uid": k, "category": "c", "prompt": v} for k, v in asked.items()))
    said = ({"uid": k, "messages": [{"content": {"answer": f"baseline {k}"}}]} for k in asked)
    lines(tmp_path / "arena/model_answer/base.jsonl", *said)
    with judged.judge(tmp_path / "unused.sqlite") as stand_in:
        stand_in.answer = answer
        recipe = tmp_path / "pairs.yaml"
        recipe.write_text(RECIPE.format(folder=tmp_path, url=stand_in.url))
        done = harness("run", recipe, "--results", tmp_path / "results", env={judged.KEY: CANARY})
        assert done.returncode == 0, done.stderr
        assert len(stand_in.asked) == 2 * (len(asked) + judged.TURNS)
    run = tmp_path / "results/runs/pairs"
    scores = pd.read_parquet(run / "scores.parquet")
    overall = scores[scores["category"] == "overall"].set_index("benchmark").to_dict("index")
    facts = {name: (row["value"], row["n"], row["total"]) for name, row in overall.items()}
    assert facts == {
        "arena_hard": (100.0, 4, 6),
        "mt_bench_pairwise": (50.0, judged.TURNS, judged.TURNS),
    }
    stored_scores = score_files(tmp_path / "arena/question.jsonl", [run / "arena_hard/model_judgment/gpt-4/cell.jsonl"])
    assert stored_scores[["value", "n", "total"]].iloc[0].tolist() == [100.0, 4, 6]
    transcripts = pd.read_parquet(run / "transcripts.parquet")
    assert not transcripts.duplicated(["benchmark", "item", "turn"]).any()
    rows = transcripts[transcripts["benchmark"] == "arena_hard"].set_index("item").to_dict("index")
    assert rows["a"]["verdict"] == "(1) shown second: [[B>A]]\n\n(2) shown first: [[A>>B]]"
    assert rows["a"]["question"] == "Say a"
    assert rows["c"]["status"] == "unparseable"
    assert len((run / "mt_bench_pairwise/model_judgment/gpt-4_pair.jsonl").read_text().splitlines()) == judged.TURNS
