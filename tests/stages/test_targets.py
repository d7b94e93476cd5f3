"""The stage of stored targets: what it leaves, and what it depends on."""

import json
from pathlib import Path
from typing import Any

from harness.data.settings import DatasetSettings
from harness.models.settings import ModelSettings
from harness.stages import dataset, encode, targets
from harness.stages.api import Stage
from harness.stages.model import weights
from harness.train.steps.kd import KDSettings
from tests.stages.running import run

TEACHER = weights(ModelSettings(model="pocket:llama?layers=1&width=16&heads=2&seed=1"), {})
DATA = dataset.stage(DatasetSettings.model_validate_json('{"pocket": {"examples": 12, "seed": 1}}'), 0, "pocket")


def made(**settings: Any) -> Stage:
    step = KDSettings.model_validate_json(json.dumps({"targets": "cached", "top_k": 4, "max_length": 64, **settings}))
    return targets.stage(TEACHER, encode.stage(TEACHER.stage, TEACHER.part, DATA, step.max_length), step, 0)


def test_files(tmp_path: Path) -> None:
    folder = run(made(), tmp_path)
    assert {p.name for p in folder.iterdir()} - {"artifact.json"} == {
        "ids.npy",
        "logprobs.npy",
        "index.npy",
        "targets.json",
    }
    facts = json.loads((folder / "targets.json").read_text())
    assert (facts["top_k"], facts["temperature"], facts["conversations"]) == (4, 1.0, 12)
    assert 0 < facts["mean_remaining_mass"] < 1


def test_identity() -> None:
    shared = made(learning_rate=1e-3, epochs=3.0, divergence="jsd", batch_size=64, **{"lambda": 0.5})
    assert shared.id == made().id, "how a student learns from them is of no matter"
    others = [made(top_k=5), made(temperature=2.0), made(max_length=63), made(dtype="bfloat16")]
    assert len({made().id, *(stage.id for stage in others)}) == 5
