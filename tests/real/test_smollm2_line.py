"""The reference recipe, made small: real weights, real answers to learn from, real questions, a real judge server."""

import importlib.util
import json
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.cli.command import executed, harness

ROOT = Path(__file__).parents[2]
DATA = ROOT / "../shared/data"
SMALL = (
    "name=small",
    "axes.teacher.0.gpt4_1106_preview.recorded.limit=16",
    "axes.teacher.1.alpaca-7b.recorded.limit=16",
    "train.0.sft.max_steps=2",
    "train.0.sft.max_length=128",
    "evaluate.0.mt_bench.questions=2",
    "evaluate.0.mt_bench.max_new_tokens=16",
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not DATA.exists(), reason="the recorded answers and questions are not here (../shared/data)")
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (make install-vllm)")
def test_recipe_to_scores_with_a_served_judge(tmp_path: Path) -> None:
    sets = [word for change in (f"vars.data={DATA.resolve()}", *SMALL) for word in ("--set", change)]
    words = ("run", ROOT / "recipes/smollm2-mtbench.yaml", "--results", tmp_path, *sets)
    done = harness(*words)
    assert done.returncode == 0, done.stderr
    scores = pd.read_parquet(tmp_path / "runs/small/scores.parquet")
    overall = scores[scores["category"] == "overall"].set_index("cell")
    assert set(overall.index) == {"teacher=gpt4_1106_preview", "teacher=alpaca-7b", "student"}
    assert (overall["n"] == 4).all()
    assert overall["value"].between(1, 10).all()
    run = json.loads((tmp_path / "runs/small/run.json").read_text())
    assert [judge["calibrated"] for judge in run["judges"]] == [False]
    assert "not calibrated" in (tmp_path / "runs/small/report.md").read_text()
    assert not [p for p in psutil.process_iter(["cmdline"]) if "vllm.entrypoints" in " ".join(p.info["cmdline"] or [])]
    assert executed(harness(*words)) == 0
