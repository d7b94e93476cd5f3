"""A job that is written down is the same job to whoever reads it."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.core.canonical import canonical
from harness.train.api import steps
from harness.train.job import StoredTargets, TrainJob, TrainPlace
from harness.train.processes import read_job, write_job
from harness.train.settings import HeldOut, Processes, StepSettings

PLACE = TrainPlace(
    Path("student"),
    [Path("general"), Path("shop")],
    Path("out"),
    Path("work"),
    Path("events"),
    {"teacher": Path("teacher")},
    [StoredTargets("reference", None, Path("general")), StoredTargets("shop", "shop", Path("shop"))],
    Path("rows.npy"),
)


def job(step: str = "kd", values: dict[str, Any] | None = None, **how: Any) -> TrainJob:
    settings = steps()[step].settings.model_validate(values or {})
    assert isinstance(settings, StepSettings)
    return TrainJob(steps()[step], settings, 7, "cell", **how)


@pytest.mark.parametrize(
    "made",
    [
        job("sft"),
        job("kd", {"lambda": 0.3, "attention_layers": {0: 1}, "lora": {"rank": 2}}),
        job("dae", {"experts": {"shop": "pocket:a"}, "targets": "cached"}, domains=("shop",)),
        job("sft", {"report_to": ["tensorboard"], "save_every": 3}, checkpoints=(0.5, 1.0), held_out=HeldOut(0.1, 2)),
        job("sft", {"gradient_checkpointing": True}, parallel=Processes(processes=2, sharding="fsdp")),
    ],
    ids=lambda made: made.title,
)
def test_another_process_reads_the_same_job(made: TrainJob, tmp_path: Path) -> None:
    write_job(tmp_path / "job.json", made, PLACE)
    read, place = read_job(tmp_path / "job.json")
    assert place == PLACE
    assert (read.step, read.settings, read.parallel, read.title) == (
        made.step,
        made.settings,
        made.parallel,
        made.title,
    )
    assert canonical([read.identity, read.execution]) == canonical([made.identity, made.execution])


@pytest.mark.parametrize(
    ("values", "how"),
    [
        ({"save_every": 3}, {}),
        ({"gradient_checkpointing": True}, {}),
        ({"report_to": ["wandb"]}, {}),
        ({}, {"parallel": Processes(processes=2)}),
    ],
)
def test_what_changes_no_result_is_no_identity(values: dict[str, Any], how: dict[str, Any]) -> None:
    assert job("kd", values, **how).identity == job("kd").identity
    assert job("kd", values, **how).execution != job("kd").execution


def test_an_order_holds_it_as_json() -> None:
    made = job(held_out=HeldOut(0.1, 2))
    assert json.loads(json.dumps(made.identity | made.execution)) == made.identity | made.execution
