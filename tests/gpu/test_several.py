"""What several GPUs change: models that are spread over them, trainings whose processes hold shares on them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.core.lines import read_lines
from harness.models.load import available, load_model
from harness.train.api import steps
from harness.train.job import TrainJob, TrainPlace
from harness.train.processes import train_in_processes
from harness.train.run import train
from harness.train.settings import Processes, StepSettings
from harness.train.targets import TargetPass, write_targets
from tests.train.stored import stored

pytestmark = pytest.mark.skipif(
    torch.cuda.device_count() < 2, reason=f"it needs two GPUs, and this machine shows {torch.cuda.device_count()}"
)


def test_a_spread_model_stores_the_targets_of_one_device(
    pocket_folder: Path, conversations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    import harness.train.targets

    tokens = stored(conversations, pocket_folder, tmp_path / "tokens").tokens[0]
    settings, logprobs = TargetPass(4, 1.0, "float32"), []
    for name, place in (("spread", available()), ("one", "cuda:0")):
        monkeypatch.setattr(harness.train.targets, "available", lambda place=place: place)
        out, work = tmp_path / name, tmp_path / f"{name}-work"
        out.mkdir()
        work.mkdir()
        write_targets(pocket_folder, tokens, settings, out=out, work=work, progress=lambda *_, **__: None)
        logprobs.append(np.load(out / "logprobs.npy"))
    np.testing.assert_allclose(logprobs[0], logprobs[1], rtol=1e-4, atol=1e-5)
    devices = {weight.device for weight in load_model(pocket_folder, "float32", available()).parameters()}
    assert len(devices) > 1, "it was spread"


@pytest.mark.parametrize("offload", [False, True])
def test_shares_train_as_one_process(
    pocket_folder: Path, teacher_folder: Path, conversations: Path, tmp_path: Path, offload: bool
) -> None:
    values: dict[str, Any] = {"batch_size": 8, "micro_batch_size": 2, "learning_rate": 5e-3, "max_steps": 3}
    settings = steps()["kd"].settings.model_validate(values)
    assert isinstance(settings, StepSettings)
    tokens, losses = stored(conversations, pocket_folder, tmp_path / "tokens").tokens, []
    for processes in (1, 2):
        out, work = tmp_path / f"out-{processes}", tmp_path / f"work-{processes}"
        out.mkdir()
        work.mkdir()
        place = TrainPlace(pocket_folder, tokens, out, work, tmp_path / "events", {"teacher": teacher_folder})
        sharding = {"sharding": "fsdp", "offload_teachers": offload} if processes > 1 else {}
        parallel = Processes.model_validate({"processes": processes, **sharding})
        job = TrainJob(steps()["kd"], settings, 0, "t", parallel=parallel)
        (train_in_processes if processes > 1 else train)(job, place, lambda *_, **__: None)
        losses.append([line["loss"] for line in read_lines(out / "log.jsonl")])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
