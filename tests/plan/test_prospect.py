"""What a plan says of memory, time and price, and what does not fit is refused with the nearest change."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.api.recipes import load_recipe, plan_recipe
from harness.api.runs import run_recipe
from harness.core.absent import absent_allowed
from harness.core.errors import HarnessError
from harness.judge.settings import JudgeSettings, ServeSettings
from harness.models import refs
from harness.plan import devices
from harness.plan.fit import footprint
from harness.plan.prospect import Prospect, in_words
from harness.plan.shapes import Shapes
from harness.recipe.schema import ResourceSettings
from harness.stages import reward, reward_model
from harness.stages.model import resolve
from harness.store.store import Store
from harness.train.settings import OptimSettings
from tests.plan.unreachable import no_hub

POCKET = "pocket:llama?layers=1&width=16&heads=2"
HUB_CONFIG = refs.hub_config
H100 = {"gpus": 1, "gpu": "H100", "usd_per_gpu_hour": 2.0}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    no_hub(monkeypatch)


def recipe(
    step: str = "sft", resources: dict[str, Any] = H100, rows: int = 1_000_000, **settings: Any
) -> dict[str, Any]:
    """A 7B student, whose weights and data are not here."""
    return {
        "name": "large",
        "student": "hf:mistralai/Mistral-7B-v0.1",
        "teacher": {"model": "hf:mistralai/Mixtral-8x7B-Instruct-v0.1"},
        "data": {"train": {"path": "nowhere.jsonl", "expect": {"rows": rows, "tokens": 500}}},
        "train": [{step: {"dtype": "bfloat16", "batch_size": 64, **settings}}],
        "evaluate": [{"pocket": {"questions": 8}}],
        "resources": resources,
    }


def seen(results: Path, *given: Any, **settings: Any) -> Prospect:
    return plan_recipe(load_recipe(recipe(*given, **settings)), results=results).prospect


def test_hours_are_those_that_operations_give(tmp_path: Path) -> None:
    """6 operations a weight and token, at 20 to 45 % of 989 TFLOP/s."""
    flops = 6 * (7.242e9 - 32000 * 4096) * 1_000_000 * 500
    found = seen(tmp_path).gpu_hours
    for hours, share in ((found.most, 0.2), (found.expected, 0.3), (found.least, 0.45)):
        assert hours == pytest.approx(flops / (share * 989e12) / 3600, rel=0.01)


def test_a_store_full_of_pocket_runs_changes_nothing(tmp_path: Path) -> None:
    before = seen(tmp_path / "empty")
    small = {
        "name": "small",
        "student": POCKET,
        "data": {"train": {"pocket": {"examples": 8}}},
        "train": [{"sft": {"max_steps": 1}}],
        "evaluate": [{"pocket": {"questions": 8}}],
    }
    run_recipe(load_recipe(small), results=tmp_path)
    after = seen(tmp_path)
    assert after.gpu_hours == before.gpu_hours
    assert after.timing.unknown.keys() < before.timing.unknown.keys(), "stages without a model are known now"


def test_the_price_and_the_gigabytes(tmp_path: Path) -> None:
    found = seen(tmp_path, "kd", targets="cached", rows=100_000)
    assert found.gpu_usd == pytest.approx(2 * found.gpu_hours.expected)
    targets = found.kept - 4 * 7_241_732_096
    assert targets == pytest.approx(19.2e9), "100,000 conversations x 500 tokens x the 64 likeliest, 6 bytes each"
    lines = "\n".join(in_words(found))
    for part in (
        "GPU-hours: about",
        "$",
        "disk:",
        "memory on each device (H100 of 80 GB)",
        "assumed:",
        "nowhere.jsonl",
    ):
        assert part in lines


@pytest.mark.parametrize(
    ("step", "settings", "resources", "remedy"),
    [
        ("sft", {"micro_batch_size": 8, "lora": {}}, {}, "(76 GB): `micro_batch_size: 2`"),
        ("sft", {"micro_batch_size": 1, "max_length": 8192, "lora": {}}, {}, "`gradient_checkpointing: true`"),
        ("sft", {"micro_batch_size": 1, "max_length": 64}, {}, "`resources: {gpus: 4, sharding: fsdp, processes: 4}`"),
        ("kd", {"micro_batch_size": 1, "max_length": 64, "lora": {}}, {}, "`targets: cached`"),
        (
            "kd",
            {"micro_batch_size": 1, "gradient_checkpointing": True, "w_attn": 1.0},
            {"gpus": 4, "processes": 4, "sharding": "fsdp"},
            "`resources: {offload_teachers: true}`",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_nearest_change(
    tmp_path: Path, step: str, settings: dict[str, Any], resources: dict[str, Any], remedy: str
) -> None:
    found = seen(tmp_path, step, H100 | resources, **settings)
    (over,) = (fit for fit in found.fits if fit.stage.kind == "train")
    assert over.peak.total > 80e9
    assert remedy in over.remedy
    assert any(line.startswith("a run stops: ") and remedy in line for line in in_words(found))


def test_the_change_that_is_named_fits(tmp_path: Path) -> None:
    found = seen(tmp_path, "sft", H100, micro_batch_size=2, max_length=2048, lora={})
    assert [fit.remedy for fit in found.fits] == ["" for _ in found.fits]


def test_a_larger_device_by_its_memory(tmp_path: Path) -> None:
    found = seen(tmp_path, "sft", H100 | {"gpu_memory_gb": 10_000})
    assert not any(fit.remedy for fit in found.fits)


def test_a_teacher_beyond_a_device_is_spread(tmp_path: Path) -> None:
    found = seen(tmp_path, "kd", H100, targets="cached", micro_batch_size=1, max_length=64)
    (targets,) = (fit for fit in found.fits if fit.stage.kind == "targets")
    assert "`resources: {gpus: 2}`" in targets.remedy


def test_a_run_is_refused_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.plan.devices.memory", lambda: 1000)
    small = {
        "name": "small",
        "student": POCKET,
        "data": {"train": {"pocket": {"examples": 8}}},
        "train": [{"sft": {"max_steps": 1}}],
        "evaluate": [{"pocket": {"questions": 8}}],
    }
    with pytest.raises(HarnessError, match=r"takes .* on each device .* has 1e-06 GB"):
        run_recipe(load_recipe(small), results=tmp_path)
    assert not list((tmp_path / "store" / "artifacts").iterdir())


def test_no_device_of_that_name(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no GPU of the name 'H1OO'") as raised:
        seen(tmp_path, "sft", {"gpus": 1, "gpu": "H1OO"})
    assert "H100-PCIe" in str(raised.value)


def test_a_device_that_nobody_knows_has_no_hours(tmp_path: Path) -> None:
    found = seen(tmp_path, "sft", {"gpus": 1})
    assert found.gpu_hours.expected == 0
    assert found.timing.unknown["train"] == 1
    assert not any(fit.remedy for fit in found.fits), "nor is anything refused"


@pytest.mark.parametrize(
    ("smi", "name"),
    [
        ("GPU 0: NVIDIA H100 80GB HBM3", "H100"),
        ("GPU 0: NVIDIA H100 PCIe", "H100-PCIe"),
        ("GPU 0: NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("GPU 0: NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("GPU 0: NVIDIA L40S", "L40S"),
        ("GPU 0: NVIDIA H200", "H200"),
    ],
)
def test_devices_that_are_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smi: str, name: str) -> None:
    monkeypatch.setattr(devices, "gpu_names", lambda: (smi,))
    monkeypatch.setattr(devices, "gpu_memory_gb", lambda: 79.0)
    here = devices.device(ResourceSettings(gpus=1), tmp_path)
    assert (here.name, here.memory_bytes) == (name, 79e9)


def test_measured_rates_are_those_of_this_machine(tmp_path: Path) -> None:
    assert not devices.device(ResourceSettings(), tmp_path).rates
    devices.write_rates(tmp_path, {"float32": 1e11, "bfloat16": 2e11}, 1e10, "2026-11-28")
    assert devices.device(ResourceSettings(), tmp_path).rates["bfloat16"] == 2e11
    kept = json.loads((tmp_path / devices.RATES).read_text()) | {"machine": "another"}
    (tmp_path / devices.RATES).write_text(json.dumps(kept))
    assert not devices.device(ResourceSettings(), tmp_path).rates


def test_a_config_in_the_cache_comes_before_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"model_type": "llama", "vocab_size": 10, "hidden_size": 8, "intermediate_size": 16}
    config |= {"num_hidden_layers": 1, "num_attention_heads": 2, "tie_word_embeddings": True}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: str(file))
    assert HUB_CONFIG(refs.parse("hf:org/name")) == config


@pytest.mark.parametrize("base", ["pocket:llama?layers=4&width=16&heads=2", "hf:google/gemma-2-2b"])
def test_a_reward_models_training_has_a_footprint(tmp_path: Path, base: str) -> None:
    """Its head is a row: of an output matrix apart from the embedding nothing is left."""
    (tmp_path / "pairs.jsonl").write_text("")
    shapes = Shapes(Store(tmp_path))

    def parts(**settings: Any) -> Mapping[str, float]:
        given = OptimSettings(**settings)
        with absent_allowed():
            made = reward_model.stage(resolve(base), tmp_path / "pairs.jsonl", given, 0, 1).stage
        peak = footprint(made, shapes, on_gpu=True)
        assert peak is not None
        return peak.parts

    with absent_allowed():
        shape = shapes.of(resolve(base).stage)
    assert shape is not None
    assert parts()["weights"] == 4 * (shape.parameters - (0 if shape.tied else shape.matrix))
    assert parts()["optimiser"] == 2 * parts()["weights"]
    assert parts(gradient_checkpointing=True)["activations"] < parts()["activations"]


def test_a_served_judge_has_a_footprint(tmp_path: Path) -> None:
    served = resolve(POCKET)
    settings = JudgeSettings(model=POCKET, serve=ServeSettings(max_length=1024))
    made = reward.judged_stage(resolve("pocket:llama").stage, settings, served, 1, "judged")
    shapes = Shapes(Store(tmp_path))
    peak, shape = footprint(made, shapes, on_gpu=True), shapes.of(served.stage)
    assert peak is not None
    assert shape is not None
    assert peak.parts["weights"] == 2 * shape.parameters
    elsewhere = reward.judged_stage(served.stage, JudgeSettings(model="gpt-4o"), None, 0, "judged")
    assert footprint(elsewhere, shapes, on_gpu=True) is None


def test_a_stage_without_a_known_model_has_no_footprint(tmp_path: Path) -> None:
    model = resolve("pocket:llama")
    assert footprint(model.stage, Shapes(Store(tmp_path)), on_gpu=False) is None
