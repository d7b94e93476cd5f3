"""What a GPU changes: its arithmetic, its kernels, its memory, several of them. Skipped where there is none.

    make test-gpu

Needs torch, transformers, pydantic and pytest; no network and no weights.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from harness.generate.api import Answer, GenerateSettings, Request
from harness.generate.transformers_engine import load
from harness.models.pocket import build, model, parse_spec
from harness.train.api import Batch
from harness.train.losses import IGNORED, live_teacher
from harness.train.steps.kd import KDSettings, kd_loss

ROOT = Path(__file__).parents[2]
GPUS = torch.cuda.device_count()
on_gpu = pytest.mark.skipif(GPUS == 0, reason="no CUDA device here")
on_two = pytest.mark.skipif(GPUS < 2, reason=f"two CUDA devices are needed, {GPUS} here")
SPEC = parse_spec("llama?layers=2&width=64&heads=4&seed=1")


def batch(device: str) -> Batch:
    ids = torch.randint(4, 100, (4, 32), generator=torch.Generator().manual_seed(0))
    labels = torch.where(torch.arange(32) < 12, IGNORED, ids)
    whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    return {name: values.to(device) for name, values in whole.items()}


def step(device: str, dtype: torch.dtype) -> tuple[float, float]:
    """The loss of a KD step and the norm of its gradient."""
    student = model(SPEC).to(device)
    teacher = live_teacher(model(parse_spec("llama?layers=2&width=64&heads=4&seed=2")).to(device).requires_grad_(False))
    vocab_size = student.config.vocab_size
    with torch.autocast(device, dtype, enabled=dtype != torch.float32):
        loss = kd_loss(KDSettings(), {"teacher": teacher}, vocab_size)(student, batch(device)).total
    loss.backward()
    return float(loss), float(torch.nn.utils.get_total_norm([w.grad for w in student.parameters()]))


@on_gpu
def test_a_kd_step_is_that_of_the_cpu() -> None:
    assert step("cuda", torch.float32) == pytest.approx(step("cpu", torch.float32), rel=1e-3)


@on_gpu
def test_a_kd_step_under_bfloat16_is_close_to_that_in_float32() -> None:
    assert step("cuda", torch.bfloat16) == pytest.approx(step("cuda", torch.float32), rel=5e-2)


@on_gpu
@pytest.mark.parametrize("kernel", [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION], ids=lambda k: k.name)
def test_attention_kernels_agree(kernel: SDPBackend) -> None:
    q, k, v = torch.randn(3, 2, 4, 128, 64, device="cuda", dtype=torch.bfloat16)
    with sdpa_kernel(SDPBackend.MATH):
        plain = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    with sdpa_kernel(kernel):
        fast = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(fast, plain, atol=2e-2, rtol=2e-2)


@on_gpu
def test_a_batch_beyond_the_memory_is_halved_until_it_fits(tmp_path: Path) -> None:
    build(SPEC, tmp_path)
    engine = load(tmp_path, GenerateSettings(batch_size=4096))
    said = [{"role": "user", "content": "what is"}]
    requests = [Request(str(k), tuple(said), temperature=0.0, max_new_tokens=64, seed=0) for k in range(4096)]
    answers: list[Answer] = []
    _, total = torch.cuda.mem_get_info()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 200e6) / total)
    try:
        engine.complete(requests, answers.extend)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(answers) == len(requests)
    assert not any(text.startswith("error") for answer in answers for text in answer.finish)


@on_two
def test_two_processes_add_up_over_nccl(tmp_path: Path) -> None:
    child = tmp_path / "child.py"
    child.write_text(
        "import torch, torch.distributed as d\n"
        "d.init_process_group('nccl'); r = d.get_rank(); torch.cuda.set_device(r)\n"
        "x = torch.full((1,), float(r + 1), device='cuda'); d.all_reduce(x); assert float(x) == 3, x\n"
        "d.destroy_process_group()\n"
    )
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(child)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_benchmark_runs_without_a_gpu() -> None:
    small = ["--layers", "1", "--width", "64", "--length", "32", "--rows", "2", "--steps", "1", "--matmul", "64"]
    words = [sys.executable, "benchmarks/gpu.py", "--device", "cpu", *small]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    about, *rows = map(json.loads, done.stdout.splitlines())
    assert about["device"] == "CPU"
    assert {"teacher scoring pass", "generation", "kd step"} <= {row["work"] for row in rows}
    assert all("skipped" in row or row["share of rate"] > 0 for row in rows)
    assert {"kd step, liger", "kd step, trl"} <= {row["work"] for row in rows}, "measured, or said to be absent"
