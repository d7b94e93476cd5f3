"""The memory of a training: each part against what is counted on real models, and what each setting does to the sum."""

from typing import Any

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

from harness.models.shape import Shape, of_config, published
from harness.train import footprint
from harness.train.api import steps
from harness.train.job import TrainJob
from harness.train.lora import add_adapters
from harness.train.settings import LoraSettings, Processes, StepSettings

MISTRAL = published()["mistralai/Mistral-7B-v0.1"]
MIXTRAL = published()["mistralai/Mixtral-8x7B-v0.1"]
ROWS, LENGTH, WIDTH = 2, 64, 64


def job(step: str = "sft", processes: Processes | None = None, **settings: Any) -> TrainJob:
    values = {"max_length": 2048, "micro_batch_size": 4, "batch_size": 64} | settings
    given = steps()[step].settings.model_validate(values)
    assert isinstance(given, StepSettings)
    return TrainJob(steps()[step], given, 0, "x", parallel=processes or Processes())


def peak(made: TrainJob, teachers: dict[str, Shape] | None = None, student: Shape = MISTRAL) -> footprint.Footprint:
    return footprint.training(made, student, teachers or {}, made.settings.max_length, on_gpu=True)


def kept(layers: int, kind: str, dtype: str) -> tuple[int, Shape]:
    """Bytes that the forward pass of a small model keeps for the backward pass, its weights and their casts aside."""
    sizes = {
        "vocab_size": 100,
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    model: Any
    if kind == "gemma2":
        model = Gemma2ForCausalLM(Gemma2Config(**sizes, head_dim=16, attn_implementation="eager"))
    elif kind == "moe":
        model = MixtralForCausalLM(MixtralConfig(**sizes, num_local_experts=2, num_experts_per_tok=2))
    else:
        model = LlamaForCausalLM(LlamaConfig(**sizes))
    if kind == "lora":
        add_adapters(model, LoraSettings(rank=1))
    rows = {tuple(sorted(weight.shape)) for weight in model.parameters()}
    seen: dict[int, tuple[int, torch.Tensor]] = {}

    def note(saved: torch.Tensor) -> torch.Tensor:
        if tuple(sorted(saved.shape)) not in rows and not isinstance(saved, torch.nn.Parameter):
            storage = saved.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes(), saved
        return saved

    ids = torch.randint(100, (ROWS, LENGTH))
    half = torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16")
    with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved), half:
        model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    shape = of_config(model.config.to_dict())
    assert shape is not None
    return sum(size for size, _ in seen.values()), shape


@pytest.mark.parametrize("kind", ["dense", "lora", "moe", "gemma2"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_activations_are_those_that_autograd_keeps(kind: str, dtype: str) -> None:
    """Of a layer: what a model of three layers keeps above one of two."""
    if (kind, dtype) == ("moe", "bfloat16"):
        pytest.skip("on a CPU the experts of a mixture run another way in bfloat16")
    (two, _), (three, shape) = kept(2, kind, dtype), kept(3, kind, dtype)
    settings = job(dtype=dtype, lora={"rank": 1} if kind == "lora" else None).settings
    said = footprint.activations(shape, settings, LENGTH) / shape.layers
    assert said == pytest.approx((three - two) / (ROWS * LENGTH), rel=0.06)


def test_weights_gradients_and_state_are_sixteen_bytes_a_parameter() -> None:
    parts = peak(job()).parts
    assert sum(parts[name] for name in ("weights", "gradients", "optimiser")) == 16 * MISTRAL.parameters


def test_adapters_leave_gradients_and_state_to_themselves() -> None:
    whole, adapters = peak(job()), peak(job(lora={"rank": 8}))
    assert adapters.parts["optimiser"] == 8 * MISTRAL.adapters(8)
    assert whole.total - adapters.total > 11 * MISTRAL.parameters


@pytest.mark.parametrize("processes", [2, 8])
def test_every_part_is_divided_by_the_processes(processes: int) -> None:
    alone = peak(job("kd"), {"teacher": MIXTRAL}).parts
    shared = peak(job("kd", Processes(processes=processes, sharding="fsdp")), {"teacher": MIXTRAL}).parts
    for name in ("weights", "gradients", "optimiser", "teachers"):
        assert shared[name] == pytest.approx(alone[name] / processes)
    assert shared["activations"] == alone["activations"], "each process has micro-batches of its own"


def test_without_sharding_each_process_holds_everything_and_buckets_of_gradients() -> None:
    alone, two = peak(job()).parts, peak(job("sft", Processes(processes=2))).parts
    assert {name: two[name] for name in ("weights", "optimiser")} == {
        name: alone[name] for name in ("weights", "optimiser")
    }
    assert two["buckets"] == 4 * MISTRAL.parameters


@pytest.mark.parametrize(
    ("changed", "smaller"),
    [
        ({"micro_batch_size": 2}, "activations"),
        ({"gradient_checkpointing": True}, "activations"),
        ({"micro_batch_tokens": 2048}, "activations"),
        ({"max_length": 512}, "activations"),
        ({"dtype": "bfloat16"}, "activations"),
    ],
)
def test_what_makes_it_smaller(changed: dict[str, Any], smaller: str) -> None:
    assert peak(job(**changed)).parts[smaller] < peak(job()).parts[smaller]


def test_a_teacher_is_held_in_the_dtype_of_the_step_and_offloaded_teachers_are_not_held() -> None:
    live = peak(job("kd", dtype="bfloat16"), {"teacher": MIXTRAL}).parts
    assert live["teachers"] == 2 * MIXTRAL.parameters
    away = Processes(processes=8, sharding="fsdp", offload_teachers=True)
    assert "teachers" not in peak(job("kd", away, dtype="bfloat16"), {"teacher": MIXTRAL}).parts


def test_the_attention_term_keeps_queries_and_keys_of_the_teacher() -> None:
    without, with_maps = (peak(job("kd", w_attn=weight), {"teacher": MIXTRAL}) for weight in (0.0, 1.0))
    kept_of_teacher = 4 * MIXTRAL.layers * (MIXTRAL.attention_width + MIXTRAL.kv_width) * 4 * 2048
    assert with_maps.total - without.total >= kept_of_teacher


def test_a_single_micro_batch_has_no_gradients_beside_its_activations() -> None:
    small = Shape(1000, 64, 2, 4, 4, 16, 128)
    one = peak(job(batch_size=4), student=small)
    assert "gradients" not in one.parts, "activations are larger here, and gone when the gradients are there"
    assert "gradients" in peak(job(), student=small).parts


def test_generation_holds_a_cache_for_each_conversation() -> None:
    one, many = (footprint.generating(MISTRAL, "bfloat16", n, 4096, on_gpu=True).parts["KV cache"] for n in (1, 32))
    assert many == 32 * one
    assert one == 2 * 2 * 32 * 1024 * 4096


def test_a_student_that_answers_holds_a_cache_where_that_is_more_than_its_step() -> None:
    """Sixty-four answers at once, beside a step whose micro-batches hold one row each."""
    data, own = (
        peak(job("on_policy", sampled=sampled, batch_size=64, micro_batch_size=1, gradient_checkpointing=True))
        for sampled in (0, 1)
    )
    assert own.total > data.total
    cache = footprint.generating(MISTRAL, "float32", 64, 2048, on_gpu=True).parts["KV cache"]
    assert sum(own.parts[name] for name in ("activations", "logits", "gradients")) >= cache
