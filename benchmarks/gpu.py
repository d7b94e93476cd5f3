"""A model's work on a GPU: a KD step, a teacher's scoring pass and generation, beside the rate of a matrix product.

    python benchmarks/gpu.py                         # a Llama of about 0.5 billion weights on cuda:0
    python benchmarks/gpu.py --device cpu --layers 2 --width 64 --length 64 --steps 1

Needs torch, transformers and pydantic; no network, no weights (they are random) and no installation: `PYTHONPATH=.` is
enough. Student and teacher have one shape. The share of the rate is of the usual count of operations (`train.flops`).
`liger` is there where liger_kernel is installed: the student with its kernels. `trl` is there where trl 1.16.0 is: the
loss of its DistillationTrainer, at its forward KL, in the loop of our step, because its own begins with generation. A
line says of each that is not installed.
"""

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import transformers

from harness.models.load import output_head
from harness.models.logprobs import top_logprobs
from harness.train.api import Batch, Loss, Objective
from harness.train.flops import Meter, active_weights
from harness.train.losses import IGNORED, live_teacher, response_states
from harness.train.steps.kd import KDSettings, kd_loss

VOCABULARY, PROMPT, TOP_K = 32_000, 0.4, 64


def model(width: int, layers: int, device: str) -> Any:
    """A Llama with random weights."""
    shape = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers}
    heads = {"num_attention_heads": max(1, width // 64), "num_key_value_heads": max(1, width // 64)}
    config = transformers.LlamaConfig(vocab_size=VOCABULARY, **shape, **heads)
    return transformers.LlamaForCausalLM(config).to(device)


def batch(rows: int, length: int, device: str) -> Batch:
    """Random conversations of one length; the first part of each is its prompt."""
    ids = torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(0)).to(device)
    labels = ids.clone()
    labels[:, : round(PROMPT * length)] = IGNORED
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def timed(work: Callable[[], object], steps: int, device: str) -> float:
    """Seconds of a repetition, after one that is not counted."""
    clock = 0.0
    for step in range(steps + 1):
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        if step == 1:
            clock = time.perf_counter()
        work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return (time.perf_counter() - clock) / steps


def matmul_rate(device: str, size: int, steps: int) -> float:
    """Operations a second of a square product in bfloat16."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / timed(lambda: a @ b, steps, device)


def kd_step(student: Any, objective: Objective, data: Batch, device: str) -> None:
    """Forward and backward with autocast; the student's weights are float32, and the optimiser is AdamW."""
    with torch.autocast(device.partition(":")[0], torch.bfloat16):
        loss = objective(student, data).total
    loss.backward()
    student.optimiser.step()
    student.optimiser.zero_grad()


def measured(name: str, work: Callable[[], object], tokens: int, operations: float, args: Any) -> dict[str, Any]:
    """A row: tokens a second, operations a second, and the peak of memory on a GPU."""
    cuda = args.device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = timed(work, args.steps, args.device)
    row = {"work": name, "tokens/s": round(tokens / seconds), "share of rate": operations / seconds / args.rate}
    return row | {"peak GB": round(torch.cuda.max_memory_allocated() / 1e9, 2) if cuda else None}


def rows(args: Any) -> list[dict[str, Any]]:
    """Every piece of work."""
    data, out = batch(args.rows, args.length, args.device), []
    tokens = args.rows * args.length
    teacher = model(args.width, args.layers, args.device).to(torch.bfloat16).requires_grad_(False).eval()
    weights = active_weights(teacher)

    def scoring() -> None:
        with torch.no_grad():
            top_logprobs(response_states(teacher, data), output_head(teacher), TOP_K)

    def generation() -> None:
        prompt = data["input_ids"][:, : args.length // 2]
        teacher.generate(prompt, max_new_tokens=args.length // 2, do_sample=False, pad_token_id=0, eos_token_id=None)

    out.append(measured("teacher scoring pass", scoring, tokens, 2 * weights * tokens, args))
    out.append(measured("generation", generation, tokens // 2, 2 * weights * tokens, args))
    operations = 0.0
    for side, package in (("kd step", "torch"), ("kd step, liger", "liger_kernel"), ("kd step, trl", "trl")):
        if importlib.util.find_spec(package) is None:
            out.append({"work": side, "skipped": f"{package} is not installed"})
            continue
        student, meter = model(args.width, args.layers, args.device), Meter()
        if package == "liger_kernel":
            from liger_kernel.transformers import _apply_liger_kernel_to_instance

            _apply_liger_kernel_to_instance(student)
        student.optimiser = torch.optim.AdamW(student.parameters(), lr=1e-5)
        teachers = {"teacher": meter.teacher(live_teacher(teacher))}
        objective = meter.student(kd_loss(KDSettings(), teachers, VOCABULARY), student)
        if package == "trl":
            objective = trl_loss(teacher)
        kd_step(student, objective, data, args.device)
        operations = operations or meter.read()  # the work is the same, whoever does it
        work = partial(kd_step, student, objective, data, args.device)
        out.append(measured(side, work, tokens, operations, args))
    return out


def trl_loss(teacher: Any) -> Objective:
    """What TRL's `DistillationTrainer._compute_loss` does with a prompt and its completion."""
    from trl.trainer.distillation_trainer import _chunked_divergence_loss

    def objective(student: Any, data: Batch) -> Loss:
        start = round(PROMPT * data["input_ids"].shape[1])

        def states(model: Any) -> torch.Tensor:
            given = {"input_ids": data["input_ids"], "attention_mask": data["attention_mask"]}
            hidden: torch.Tensor = model.base_model(**given, use_cache=False).last_hidden_state
            return hidden[:, start - 1 : -1]

        with torch.no_grad():
            taught = states(teacher)
        heads = (held.get_output_embeddings().weight for held in (student, teacher))
        mask = data["attention_mask"][:, start:]
        return Loss(_chunked_divergence_loss(states(student), taught, *heads, mask, beta=0.0, num_items_in_batch=1)[0])

    return objective


def main() -> None:
    """Measure, and print a JSON line for each piece of work after a line of what it ran on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    numbers = {"width": 1536, "layers": 16, "rows": 8, "length": 1024, "steps": 10, "matmul": 8192}
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here: name another by --device cpu")
    args.rate = matmul_rate(args.device, args.matmul, args.steps)
    card = torch.cuda.get_device_name() if args.device.startswith("cuda") else "CPU"
    about = {"device": card, "torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps(about | {"matmul TFLOP/s": round(args.rate / 1e12, 3)}))
    for row in rows(args):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
