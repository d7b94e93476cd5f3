"""A recipe whose model, data and recorded teacher lie on the hub, by the command: once, offline, after a new commit."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from harness.models.pocket import build, parse_spec
from tests.cli.command import HARNESS
from tests.worlds.hub import Hub, Repository, serving

RECIPE = """\
student: hf:org/base
teacher: {{recorded: {{hf: org/zoo, where: {{generator: strong}}}}}}
data:
  train: {{hf: org/answers}}
train:
  - sft: {{max_steps: 1, batch_size: 4, max_length: 64}}
  - sft: {{data: teacher, max_steps: 1, batch_size: 4, max_length: 64}}
evaluate:
  - nll: {{sets: {{held: {{hf: org/answers, split: test}}}}, max_length: 64}}
"""


def lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def answers(number: int) -> list[dict[str, str]]:
    return [{"instruction": f"What is {k} plus one?", "output": str(k + 1)} for k in range(number)]


def fill(hub: Hub, tmp_path: Path) -> None:
    build(parse_spec("llama?layers=1&width=16&heads=2"), tmp_path / "base")
    zoo = [row | {"generator": name} for name in ("strong", "weak") for row in answers(6)]
    hub.repositories = {
        "models/org/base": Repository([{p.name: p.read_bytes() for p in (tmp_path / "base").iterdir()}]),
        "datasets/org/zoo": Repository([{"data/train-0.jsonl": lines(zoo[:6]), "data/train-1.jsonl": lines(zoo[6:])}]),
        "datasets/org/answers": Repository([{"train.jsonl": lines(answers(8)), "test.jsonl": lines(answers(3))}]),
    }


@pytest.mark.slow
def test_hub_model_data_and_teacher(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE.format())

    def run(command: str, url: str, **environment: str) -> subprocess.CompletedProcess[str]:
        environment |= {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
        words = [*HARNESS, command, "r.yaml", "--results", "results"]
        return subprocess.run(
            words, cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True, timeout=300
        )

    with serving() as hub:
        fill(hub, tmp_path)
        looked_at = run("plan", hub.url)
        told = looked_at.stdout + looked_at.stderr
        assert all(name in told for name in ("hf:org/base", "hf:org/zoo", "hf:org/answers")), told
        assert not any("resolve" in path for path in hub.asked), "a plan downloads nothing"
        first = run("run", hub.url)
        assert first.returncode == 0, first.stderr
        scores = (tmp_path / "results/runs/r/scores.csv").read_text()
    offline = run("run", "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr
    assert "executed 0 of" in offline.stderr
    with serving() as hub:
        fill(hub, tmp_path)
        hub.repositories["datasets/org/answers"].commits.append(
            {"train.jsonl": lines(answers(9)), "test.jsonl": lines(answers(3))}
        )
        renewed = run("run", hub.url)
        assert renewed.returncode == 0, renewed.stderr
        assert "executed 0 of" not in renewed.stderr
        assert (tmp_path / "results/runs/r/scores.csv").read_text() != scores
