"""Losses through the trainer: parts of a batch of any size give the gradient and the curve of the whole batch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.core.lines import read_lines, write_lines
from harness.models.pocket import build, parse_spec
from harness.train.api import steps
from harness.train.job import TrainJob, TrainPlace
from harness.train.run import train
from harness.train.settings import StepSettings
from tests.train.stored import stored

DAE = {"expert": "pocket:expert", "reference": "pocket:reference"}


@pytest.fixture
def mixed(conversations: Path, tmp_path: Path) -> Path:
    """Every fifth conversation is of the domain."""
    file = tmp_path / "mixed.jsonl"
    rows = enumerate(read_lines(conversations))
    write_lines(file, ({**row, "domain": "domain" if i % 5 == 0 else None} for i, row in rows))
    return file


@pytest.fixture
def first_step(mixed: Path, pocket_folder: Path, tmp_path: Path) -> Callable[..., dict[str, float]]:
    """The first line of the curve of a training with micro-batches of a size."""
    teachers: dict[str, Path] = {}
    for seed, role in enumerate(("teacher", "reference", "domain")):
        teachers[role] = tmp_path / role
        teachers[role].mkdir()
        build(parse_spec(f"llama?layers=2&width=48&heads=4&seed={20 + seed}"), teachers[role])

    def _first(name: str, size: int, values: dict[str, Any], roles: tuple[str, ...]) -> dict[str, float]:
        settings = steps()[name].settings.model_validate(
            {"batch_size": 16, "micro_batch_size": size, "max_steps": 1, "max_grad_norm": 1e9, **values}
        )
        assert isinstance(settings, StepSettings)
        out = tmp_path / f"{name}-{size}"
        out.mkdir()
        work, asked = tmp_path / f"{name}-{size}-work", {role: teachers[role] for role in roles}
        data = stored(mixed, pocket_folder, tmp_path / "tokens", domains=["domain"])
        place = TrainPlace(pocket_folder, data.tokens, out, work, tmp_path / "events", asked, mix=data.mix)
        train(TrainJob(steps()[name], settings, 0, name, ("domain",)), place, lambda *_, **__: None)
        line: dict[str, float] = json.loads((out / "log.jsonl").read_text().splitlines()[0])
        return line

    return _first


@pytest.mark.parametrize(
    ("name", "values", "roles", "parts"),
    [
        ("kd", {"lambda": 0.5, "w_attn": 2.0}, ("teacher",), {"agreement/teacher", "loss/attention"}),
        (
            "dae",
            {**DAE, "lambda": 0.5, "temperature": 2.0},
            ("reference", "domain"),
            {"loss/general", "loss/domain", "agreement/reference", "agreement/domain"},
        ),
    ],
)
def test_parts_give_the_gradient_and_the_curve_of_the_whole_batch(
    first_step: Callable[..., dict[str, float]],
    name: str,
    values: dict[str, Any],
    roles: tuple[str, ...],
    parts: set[str],
) -> None:
    whole, *others = (first_step(name, size, values, roles) for size in (16, 4, 1))
    assert parts <= whole.keys()
    for other in others:
        assert other["tokens"] == whole["tokens"]
        for field in ("loss", "grad_norm", *parts):
            assert other[field] == pytest.approx(whole[field], rel=1e-4), field
