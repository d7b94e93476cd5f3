"""The memory model against measurement: peak memory of trainings, expected and taken, on a CPU.

    python benchmarks/memory_model.py --out results/reference/memory [--cases sft kd ...] [--sizes small ...]

Each case is the training that `harness run` would run, in a process of its own, for two optimiser steps of two
micro-batches: Llamas (Mixtrals for `moe`) with random weights at three sizes, conversations of random words that fill
`max_length`. Taken is the most anonymous memory that a process held at one time (RssAnon, looked at every 5 ms; of
several processes the highest), expected is what `harness plan` says of the same stage for a machine without a GPU, less
teachers in float32: on a CPU their weights are pages of their mapped files, which are no anonymous memory.
"""

import argparse
import csv
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM, PreTrainedTokenizerFast

from harness.core.lines import write_json, write_lines
from harness.models import pocket
from harness.models.load import load_tokenizer
from harness.models.shape import of_config
from harness.store.provenance import hardware, versions
from harness.train import footprint
from harness.train.api import steps
from harness.train.job import StoredTargets, TrainJob, TrainPlace
from harness.train.processes import train_in_processes
from harness.train.run import train
from harness.train.settings import Processes, StepSettings
from harness.train.targets import TargetPass, write_targets
from harness.train.tokens import write_tokens

LENGTH, ROWS, MICRO = 256, 16, 4
SIZES = {"base": (1, 64, 128), "small": (6, 256, 8_000), "middle": (8, 512, 16_000), "large": (12, 768, 32_000)}
"""Layers, width, vocabulary: about 10, 50 and 160 million numbers; `base` is what a process takes by itself."""


@dataclass(frozen=True)
class Case:
    """A training."""

    step: str = "sft"
    settings: Mapping[str, Any] = field(default_factory=dict)
    roles: Sequence[str] = ()
    """Of the teachers, each as large as the student."""
    experts: int = 1
    cached: bool = False
    processes: int = 1


CASES = {
    "sft": Case(),
    "sft bfloat16": Case(settings={"dtype": "bfloat16"}),
    "sft checkpointing": Case(settings={"gradient_checkpointing": True}),
    "kd": Case("kd", roles=["teacher"]),
    "kd bfloat16": Case("kd", {"dtype": "bfloat16"}, ["teacher"]),
    "dae": Case("dae", {"expert": "artifact:expert"}, ["reference", "domain"]),
    "cached": Case("kd", {"targets": "cached"}, ["teacher"], cached=True),
    "lora": Case(settings={"lora": {"rank": 16}}),
    "moe": Case(experts=2),
    "sharded over 2": Case("kd", roles=["teacher"], processes=2),
    "sharded over 4": Case("kd", roles=["teacher"], processes=4),
}


def tokenizer(vocab_size: int) -> PreTrainedTokenizerFast:
    """A token per word, `vocab_size` in all, with the pocket world's template."""
    special = (pocket.PAD, pocket.UNKNOWN, pocket.START, pocket.END, "user", "assistant")
    words = [*special, *(f"w{number}" for number in range(vocab_size - len(special)))]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=pocket.UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=pocket.PAD,
        unk_token=pocket.UNKNOWN,
        eos_token=pocket.END,
        additional_special_tokens=[pocket.START],
        chat_template=pocket.CHAT_TEMPLATE,
    )


def model(size: str, experts: int) -> Any:
    """A model of random weights."""
    layers, width, vocabulary = SIZES[size]
    config: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "num_key_value_heads": width // 64,
        "max_position_embeddings": LENGTH,
        "bos_token_id": None,
        "eos_token_id": 3,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    if experts == 1:
        return LlamaForCausalLM(LlamaConfig(**config))
    return MixtralForCausalLM(MixtralConfig(**config, num_local_experts=experts, num_experts_per_tok=experts))


def write_conversations(file: Path, vocabulary: int) -> None:
    """Conversations that fill LENGTH tokens, four parts in five of it response."""
    rng = random.Random(0)

    def text(number: int) -> str:
        return " ".join(f"w{rng.randrange(vocabulary - 6)}" for _ in range(number))

    ask, reply = LENGTH // 5, LENGTH - LENGTH // 5 - 7
    turns = ({"user": text(ask), "assistant": text(reply)} for _ in range(ROWS))
    rows = ([{"role": role, "content": said} for role, said in turn.items()] for turn in turns)
    write_lines(file, ({"id": str(number), "messages": row} for number, row in enumerate(rows)))


def job_of(case: Case) -> TrainJob:
    """Two optimiser steps of two micro-batches in each process."""
    values = {"batch_size": 2 * MICRO * case.processes, "micro_batch_size": MICRO, "max_steps": 2, "max_length": LENGTH}
    settings = steps()[case.step].settings.model_validate(values | dict(case.settings))
    assert isinstance(settings, StepSettings), "no command is measured"
    parallel = Processes(processes=case.processes, sharding="fsdp" if case.processes > 1 else "none")
    domains = [role for role in case.roles if role == "domain"]
    return TrainJob(steps()[case.step], settings, 0, "measured", domains=domains, parallel=parallel)


def prepared(folder: Path, case: Case, size: str) -> tuple[TrainJob, TrainPlace]:
    """A training with all it reads."""
    import numpy as np

    written = tokenizer(SIZES[size][2])
    for name in ("student", *case.roles):
        model(size, case.experts).save_pretrained(folder / name)
        written.save_pretrained(folder / name)
    write_conversations(folder / "data.jsonl", SIZES[size][2])
    domains = [role for role in case.roles if role == "domain"]
    tokens = [folder / f"tokens{part}" for part in range(1 + len(domains))]
    for one in tokens:
        one.mkdir()
        write_tokens(folder / "data.jsonl", load_tokenizer(folder / "student"), LENGTH, one)
    mix = folder / "mix.npy" if domains else None
    if mix is not None:
        np.save(mix, np.array([(row % 2, row) for row in range(ROWS)], np.int32))
    job = job_of(case)
    teachers, stored = {role: folder / role for role in case.roles}, []
    if case.cached:
        stored = [StoredTargets(role, None, folder / f"targets {role}") for role in teachers]
        for one in stored:
            one.folder.mkdir()
            (folder / "pass").mkdir()
            how = TargetPass(64, 1.0, "float32")
            write_targets(folder / one.role, tokens[0], how, out=one.folder, work=folder / "pass", progress=silent)
        teachers = {}
    out, work = folder / "out", folder / "work"
    out.mkdir()
    work.mkdir()
    return job, TrainPlace(folder / "student", tokens, out, work, folder / "events", teachers, stored, mix)


def silent(*_: Any, **__: Any) -> None:
    """Hears no progress."""


def expected(case: Case, size: str) -> footprint.Footprint:
    """What the plan says of the training."""
    with torch.device("meta"):
        shape = of_config(model(size, case.experts).config.to_dict())
    assert shape is not None
    teachers = {} if case.cached else dict.fromkeys(case.roles, shape)
    return footprint.training(job_of(case), shape, teachers, longest=LENGTH, on_gpu=False)


def watched(command: Sequence[str]) -> tuple[float, float]:
    """The most anonymous memory of any of a command's processes, in bytes, and its seconds."""
    began, most = time.perf_counter(), 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as started:
        process, there, until = psutil.Process(started.pid), [started.pid], 0.0
        while started.poll() is None:
            if time.perf_counter() > until:  # all processes of the machine are looked through for children
                there = [started.pid, *(child.pid for child in process.children(recursive=True))]
                until = time.perf_counter() + 1
            most = max([most, *map(anonymous, there)])
            time.sleep(0.005)
    if started.returncode:
        raise SystemExit(f"exit code {started.returncode}: {' '.join(command)}")
    return most, time.perf_counter() - began


def anonymous(pid: int) -> float:
    """Anonymous resident memory of a process, in bytes; 0 where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((1024.0 * int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0.0)


def child(folder: Path) -> None:
    """Run a prepared training."""
    from harness.train.processes import read_job

    job, place = read_job(folder / "job.json")
    (train_in_processes if job.parallel.processes > 1 else train)(job, place, silent)


def taken(name: str, size: str) -> tuple[float, float]:
    """The peak of a case's training, in bytes, and its seconds."""
    from harness.train.processes import write_job

    with tempfile.TemporaryDirectory() as new:
        job, place = prepared(Path(new), CASES[name], size)
        write_job(Path(new) / "job.json", job, place)
        return watched([sys.executable, __file__, "--child", new])


def row(name: str, size: str, peak: float, seconds: float) -> dict[str, Any]:
    """A case's peak held against the expected one."""
    said = expected(CASES[name], size)
    if CASES[name].settings.get("dtype", "float32") == "float32":
        said = footprint.Footprint({part: held for part, held in said.parts.items() if part != "teachers"})
    error = round(said.total / peak - 1, 3)
    parts = {part: round(size / 1e6) for part, size in said.parts.items()}
    both = f"taken {peak / 1e6:.0f} MB, expected {said.total / 1e6:.0f} MB ({error:+.1%})"
    print(f"{name}, {size}: {both} {parts}", flush=True)
    sizes = {"taken_mb": round(peak / 1e6), "expected_mb": round(said.total / 1e6), "error": error}
    return {"case": name, "size": size, **sizes, "seconds": round(seconds)}


def again(file: Path) -> list[dict[str, Any]]:
    """The peaks of a file, held against what the model says now."""
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    return [row(one["case"], one["size"], 1e6 * float(one["taken_mb"]), float(one["seconds"])) for one in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["small", "middle", "large"])
    parser.add_argument("--out", type=Path, help="also write the figures into this folder")
    parser.add_argument("--again", type=Path, help="measure nothing: hold the peaks of this file against the model")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        return child(asked.child)
    if asked.again:
        return print(csv_of(again(asked.again)))
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        where = {"command": " ".join(sys.argv), "date": datetime.now(UTC).date().isoformat(), "os": platform.platform()}
        write_json(asked.out / "machine.json", where | {"versions": versions(), "hardware": hardware()}, indent=1)
    rows: list[dict[str, Any]] = []
    for size in asked.sizes:
        for name in asked.cases:
            rows.append(row(name, size, *taken(name, size)))
            if asked.out:
                (asked.out / "memory.csv").write_text(csv_of(rows))
    return None


def csv_of(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [",".join(rows[0]), *(",".join(map(str, one.values())) for one in rows)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
