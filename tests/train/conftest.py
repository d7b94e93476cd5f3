import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.data.conversations import write_conversations
from harness.data.readers import read_dataset
from harness.data.settings import DatasetSettings, PocketData
from harness.models.load import load_model, output_head
from harness.models.pocket import build, parse_spec
from harness.train.api import steps
from harness.train.job import TrainJob, TrainPlace
from harness.train.run import train
from harness.train.settings import HeldOut, StepSettings
from tests.train.stored import stored

Run = Callable[..., Path]


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wider model with the same tokenizer."""
    folder = tmp_path_factory.mktemp("teacher")
    build(parse_spec("llama?layers=1&width=48&heads=4&seed=9"), folder)
    return folder


@pytest.fixture(scope="session")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 conversations of one or two turns."""
    data = read_dataset(DatasetSettings(pocket=PocketData(examples=48)), 0)
    file = tmp_path_factory.mktemp("data") / "conversations.jsonl"
    write_conversations(file, data.conversations)
    return file


@pytest.fixture
def run(pocket_folder: Path, teacher_folder: Path, conversations: Path, tmp_path: Path) -> Run:
    """Train and return the output folder; `name` tells runs of one test apart, `work` is kept between calls."""

    def _run(
        name: str = "run",
        kd: dict[str, Any] | None = None,
        progress: Callable[..., None] = lambda *_, **__: None,
        seed: int = 0,
        student: Path = pocket_folder,
        teacher: Path | None = teacher_folder,
        data: Path = conversations,
        checkpoints: tuple[float, ...] = (1.0,),
        held_out: HeldOut | None = None,
        **optim: Any,
    ) -> Path:
        on_policy = optim.pop("on_policy", None)
        values = {"batch_size": 8, "micro_batch_size": 4, "learning_rate": 5e-3, "save_every": 1000, **optim}
        step = steps()["on_policy" if on_policy is not None else "sft" if kd is None else "kd"]
        settings = step.settings.model_validate({**values, **(kd or on_policy or {})})
        assert isinstance(settings, StepSettings)
        out = tmp_path / name
        out.mkdir(exist_ok=True)
        teachers = {"teacher": teacher} if step.name != "sft" and teacher else {}
        tokens = stored(data, student, tmp_path / f"{name}-tokens", settings.max_length).tokens
        place = TrainPlace(student, tokens, out, tmp_path / f"{name}-work", tmp_path / "events", teachers)
        train(TrainJob(step, settings, seed, name, (), checkpoints, held_out), place, progress)
        return out

    return _run


@pytest.fixture
def curve() -> Callable[[Path], list[dict[str, float]]]:
    """The log of an output folder."""
    return lambda out: [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """A student and three wider teachers, in float64."""
    made = []
    for seed, width in enumerate((16, 24, 24, 24)):
        folder = tmp_path_factory.mktemp(f"model-{seed}")
        build(parse_spec(f"llama?layers=1&width={width}&heads=2&seed={seed}"), folder)
        model = load_model(folder, "float32").double()
        with torch.no_grad():
            output_head(model).weight.mul_(20)  # Untrained models are all unsure: nothing would tell them apart.
        made.append(model.requires_grad_(seed == 0))
    return made
