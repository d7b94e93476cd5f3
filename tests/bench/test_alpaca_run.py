"""`harness run` on AlpacaEval against a stand-in for the judge's endpoint, by every protocol."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aiohttp import web

from tests.bench.test_alpaca_eval import write
from tests.cli import judged
from tests.cli.command import harness
from tests.judge.stand_in import CANARY, completion, reply

RECIPE = """\
name: alpaca
student: pocket:llama?layers=1&width=16&heads=2&seed=1
evaluate: [{{alpaca_eval: {{data: {data}, max_new_tokens: 4, both_orders: {both}}}}}]
judge: {{model: gpt-4, base_url: {url}, api_key_env: TEST_JUDGE_KEY, protocol: {way}, retries: 0, concurrency: 1}}
"""
FIRST = {"m": -0.1, "M": -2.5, "The": -9.0}
"""The first answer is better with probability 0.917, whoever wrote it."""


def answer(body: dict[str, Any], n: int) -> web.Response:
    if "structured_outputs" in body:
        return reply("m")
    if n == 2:
        return reply("m")  # without log-probabilities there is no verdict
    tops = [{"token": t, "logprob": p, "bytes": None} for t, p in FIRST.items()]
    content = [{"token": "m", "logprob": -0.1, "bytes": None, "top_logprobs": tops}]
    message = {"role": "assistant", "content": "m"}
    return completion([{"index": 0, "message": message, "finish_reason": "length", "logprobs": {"content": content}}])


@pytest.mark.slow
@pytest.mark.parametrize(("way", "both"), [("text", False), ("expected", True), ("choice", True)])
def test_a_run(way: str, both: bool, tmp_path: Path) -> None:
    data = write(tmp_path / "data", [f"baseline {k}" * (1 + k) for k in range(6)])
    recipe = tmp_path / "alpaca.yaml"
    results = tmp_path / "results"
    with judged.judge(tmp_path / "unused.sqlite") as stand_in:
        stand_in.answer = answer
        recipe.write_text(RECIPE.format(data=data, both=str(both).lower(), url=stand_in.url, way=way))
        done = harness("run", recipe, "--results", results, env={judged.KEY: CANARY})
        assert done.returncode == 0, done.stderr
        asked = stand_in.asked
    assert len(asked) == 6 * (1 + both)
    if way == "text":
        sent = {key: asked[0][key] for key in ("max_tokens", "temperature", "logprobs", "top_logprobs")}
        assert sent == {"max_tokens": 1, "temperature": 1, "logprobs": True, "top_logprobs": 5}
    run = results / "runs/alpaca"
    rows: list[dict[str, Any]] = pd.read_parquet(run / "scores.parquet").to_dict("records")  # type: ignore[assignment]
    wins, controlled = (
        next(r for r in rows if (r["metric"], r["category"]) == (metric, "overall"))
        for metric in ("win_rate", "length_controlled_win_rate")
    )
    failed = 0 if way == "choice" else 1
    assert (wins["n"], wins["total"]) == (len(asked) - failed, len(asked))
    assert wins["value"] == pytest.approx(50.0) if way == "choice" else 0 < wins["value"] < 100
    assert not wins["approximate"]
    assert controlled["approximate"]
    assert 0 < controlled["value"] < 100
    warnings = json.loads((run / "run.json").read_text())["warnings"]
    assert any("length_controlled_win_rate is approximate" in line for line in warnings)
    cell = next(path for path in (run / "alpaca_eval").iterdir())
    annotations = json.loads((cell / "gpt-4/annotations.json").read_text())
    assert len(annotations) == len(asked)
    assert sum(row["preference"] is None for row in annotations) == failed
    assert len(json.loads((cell / "model_outputs.json").read_text())) == 6
