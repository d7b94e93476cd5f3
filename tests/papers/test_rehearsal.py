"""The papers' recipes, rehearsed against a hub that has their models' configs and tokenizers, and no weights."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.cli.command import HARNESS
from tests.worlds import alpaca_eval, arena_hard, mt_bench
from tests.worlds.hub import Hub, Repository, serving
from tests.worlds.models import PUBLIC

ROOT = Path(__file__).parents[2]
ZOO = "Magpie-Align/Magpie-100K-Generator-Zoo"


def lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def answers(number: int, word: str) -> list[dict[str, str]]:
    return [{"instruction": f"What is {k} plus {word}?", "output": f"It is {k}, {word}."} for k in range(number)]


def generators() -> list[str]:
    recipe = yaml.safe_load((ROOT / "recipes/papers/stronger-teachers.yaml").read_text())
    return [s["recorded"]["where"]["generator"] for label in recipe["axes"]["teacher"] for s in label.values()]


def fill(hub: Hub, folder: Path) -> None:
    for name, model in PUBLIC.items():
        model.write(folder / name)
        files = {file.name: file.read_bytes() for file in (folder / name).iterdir()}
        hub.repositories[f"models/{name}"] = Repository([files | {"model.safetensors": b"no weights here"}])
    zoo = [row | {"generator": name} for name in generators() for row in answers(24, name)]
    hub.repositories[f"datasets/{ZOO}"] = Repository([{"data.jsonl": lines(zoo)}])


def benchmarks(folder: Path) -> Path:
    mt_bench.made_up(folder / "mt_bench", 1)
    alpaca_eval.made_up(folder / "alpaca_eval", 12)
    arena_hard.made_up(folder / "arena_hard")
    (folder / "general.jsonl").write_bytes(lines(answers(80, "five")))
    (folder / "domain.jsonl").write_bytes(lines(answers(60, "seven")))
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["teacher-million", "stronger-teachers"])
def test_a_papers_recipe_is_rehearsed(name: str, tmp_path: Path) -> None:
    data = benchmarks(tmp_path / "data")
    words = ["rehearse", f"recipes/papers/{name}.yaml", "--set", f"vars.data={data}", "--no-judges", "--jobs", "2"]
    with serving() as hub:
        fill(hub, tmp_path / "models")
        environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
        done = subprocess.run(
            [*HARNESS, *words], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=1800
        )
        assert done.returncode == 0, done.stdout + done.stderr[-8000:]
        assert not any("safetensors" in path for path in hub.asked), "no weights are fetched"
    assert not [line for line in done.stdout.splitlines() if line.startswith("fault ")], done.stdout
    assert "not reached" not in done.stdout
    assert not list(tmp_path.glob("harness-rehearsal-*"))
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    print(done.stdout)
