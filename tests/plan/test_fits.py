"""What does not fit at real size is said from configs and tokenizers, with the number that would fit."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.plan.fits import misfits, vocabularies
from harness.recipe import load
from harness.recipe.schema import CellRecipe
from tests.worlds.models import INST, PUBLIC, sizes

SMALL = sizes(1000, 256, 512, 6, 8, 4, 1024)
MISTRAL = replace(PUBLIC["mistralai/Mistral-7B-Instruct-v0.2"], sizes=SMALL)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of descriptions by reference."""
    folder = tmp_path_factory.mktemp("described")
    models = {
        "student": MISTRAL,
        "deep": replace(MISTRAL, sizes=SMALL | {"num_hidden_layers": 8, "intermediate_size": 640}),
        "other": replace(PUBLIC["Qwen/Qwen2-1.5B"], sizes=SMALL, template=INST),
    }
    return {f"path:{name}": model.write(folder / name) for name, model in models.items()}


def cell(step: dict[str, Any] | None = None, student: Any = "path:student", **more: Any) -> CellRecipe:
    recipe: dict[str, Any] = {"name": "r", "student": student, "data": {"train": {"pocket": {"examples": 8}}}}
    recipe |= {"train": [step or {"sft": {}}], "evaluate": [{"pocket": {}}]} | more
    return load(recipe).cells[0].settings


def told(found: Iterable[tuple[str, Exception]]) -> list[str]:
    return [f"{kind}: {error}" for kind, error in found]


def test_what_fits_is_not_told(folders: dict[str, Path]) -> None:
    fitting = cell({"kd": {"max_length": 1024}}, teacher="path:student", resources={"processes": 2})
    assert told(misfits(fitting, folders)) == []
    assert told(vocabularies(fitting, folders)) == []


def test_a_length_beyond_the_positions(folders: dict[str, Path]) -> None:
    (fault,) = told(misfits(cell({"sft": {"max_length": 1025}}), folders))
    assert fault.startswith("train: sft: max_length is 1,025, and path:student has 1,024 positions")
    assert "at most 1024" in fault


def test_a_default_length_is_a_limit_and_no_wish(folders: dict[str, Path]) -> None:
    assert told(misfits(cell(), folders)) == []


def test_a_length_of_scoring(folders: dict[str, Path]) -> None:
    scored = {"reward": {"program": True}, "scoring": {"max_length": 2000}}
    (fault,) = told(misfits(cell(teachers=scored, teacher="path:student"), folders))
    assert fault.startswith("tokens: teachers.scoring: max_length is 2,000")


def test_a_batch_that_processes_cannot_share(folders: dict[str, Path]) -> None:
    (fault,) = told(misfits(cell({"sft": {"batch_size": 32}}, resources={"processes": 3}), folders))
    assert "3 processes cannot share a batch of 32 evenly" in fault
    assert "30 or 33" in fault


def test_the_trainings_of_a_made_teacher_count(folders: dict[str, Path]) -> None:
    data = {"train": {"pocket": {"examples": 8}}}
    made = {"big": {"base": "path:student", "data": data, "train": [{"sft": {"max_length": 4096}}]}}
    (fault,) = told(misfits(cell({"kd": {}}, teacher="artifact:big", models=made), folders))
    assert "4,096" in fault


def test_layers_that_attention_is_distilled_between(folders: dict[str, Path]) -> None:
    (fault,) = told(misfits(cell({"kd": {"w_attn": 1.0}}, teacher="path:deep"), folders))
    assert "the student has 6 layers, the teacher 8" in fault


def test_experts_of_other_shapes(folders: dict[str, Path]) -> None:
    student = {"model": "path:student", "architecture": {"experts": 2, "from": ["path:student", "path:deep"]}}
    faults = told(misfits(cell(student=student), folders))
    assert [fault.partition(":")[0] for fault in faults] == ["upcycle", "upcycle"]
    assert "intermediate_size is 512 in path:student and 640 in path:deep" in faults[1]


def test_heads_that_do_not_divide_among_gpus(folders: dict[str, Path]) -> None:
    (fault,) = told(misfits(cell(generate={"engine": "vllm", "tensor_parallel": 3}), folders))
    assert "8 attention heads" in fault


def test_another_vocabulary(folders: dict[str, Path]) -> None:
    (fault,) = told(vocabularies(cell({"kd": {}}, teacher="path:other"), folders))
    assert fault.startswith("train: kd: the teacher path:other has another vocabulary than path:student")
