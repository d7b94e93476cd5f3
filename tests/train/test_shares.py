"""A training in which each process holds a share of student and teachers is the training of one process."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel

from harness.core.errors import HarnessError
from harness.core.lines import read_json, read_lines, write_json, write_lines
from harness.models.load import load_tokenizer
from harness.models.pocket import build, parse_spec
from harness.train.api import steps
from harness.train.job import TrainJob, TrainPlace
from harness.train.processes import CHILD, train_in_processes
from harness.train.run import train
from harness.train.settings import HeldOut, Processes, StepSettings
from tests.train.stored import stored

pytestmark = pytest.mark.slow  # each start of several processes imports torch and transformers in each
Trained = Callable[..., Path]
SPARSE = "mixtral?layers=2&width=32&heads=4&experts=4&per_token=2&seed=3"
GUARD = "harness.core.guard_child"
EXPERTS = {"experts": {"a": "pocket:a", "b": "pocket:b"}}


@pytest.fixture
def trained(pocket_folder: Path, teacher_folder: Path, conversations: Path, tmp_path: Path) -> Trained:
    """Train in some processes, with shares where they are several; returns the output folder.

    With experts every seventh row is of a domain, so that a process often has no row of one of them.
    """

    def _trained(
        step: str,
        processes: int,
        values: Mapping[str, Any],
        student: Path = pocket_folder,
        progress: Callable[..., None] = lambda *_, **__: None,
        sharding: str = "fsdp",
        work: str = "",
    ) -> Path:
        given = {"batch_size": 8, "micro_batch_size": 2, "learning_rate": 5e-3, "epochs": 1.0, "save_every": 2}
        settings = steps()[step].settings.model_validate({**given, **values})
        assert isinstance(settings, StepSettings)
        domains = [*values.get("experts", ())]
        rows = list(read_lines(conversations))
        for number, row in enumerate(rows):
            if domains and number % 7 == 0:
                row["domain"] = domains[number % len(domains)]
        write_lines(tmp_path / "data.jsonl", rows)
        data = stored(tmp_path / "data.jsonl", student, tmp_path / f"tokens-{processes}", domains=domains)
        of_step = {"sft": [], "dae": ["reference", *domains]}.get(step, ["teacher"])
        teachers = {role: student if role == "reference" else teacher_folder for role in of_step}
        shared = processes > 1 and sharding == "fsdp"
        # Teachers that wait in the CPU's memory are where they were on a CPU.
        parallel = Processes(processes=processes, sharding="fsdp" if shared else "none", offload_teachers=shared)
        held_out = HeldOut(0.2, 0) if step == "kd" else None
        job = TrainJob(steps()[step], settings, 0, "t", data.domains, (0.5, 1.0), held_out, parallel)
        out, checkpoints = tmp_path / f"out-{processes}", tmp_path / (work or f"work-{processes}")
        for folder in (out, checkpoints):
            folder.mkdir(exist_ok=True)
        place = TrainPlace(student, data.tokens, out, checkpoints, tmp_path / "events", teachers, mix=data.mix)
        (train_in_processes if processes > 1 else train)(job, place, progress)
        return out

    return _trained


def same(out: Path, want: Path) -> None:
    """Curves, held-out loss and weights are equal to rounding, in files of the same names."""
    for line, wanted in zip(read_lines(out / "log.jsonl"), read_lines(want / "log.jsonl"), strict=True):
        assert line == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    summaries = [read_json(folder / "training.json") for folder in (out, want)]
    losses = [summary.get("held_out_loss", 0.0) for summary in summaries]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for part in ("model", "checkpoint-0.5"):
        assert {p.name for p in (out / part).iterdir()} == {p.name for p in (want / part).iterdir()}
        assert read_json(out / part / "config.json") == read_json(want / part / "config.json")
        weights, wanted = (load_file(folder / part / "model.safetensors") for folder in (out, want))
        assert weights.keys() == wanted.keys()
        for name, weight in weights.items():
            torch.testing.assert_close(weight, wanted[name], rtol=1e-3, atol=2e-4)


def tied(folder: Path, at: Path) -> Path:
    """The model of a folder with its input embedding as output matrix."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, tie_word_embeddings=True)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(at)
    load_tokenizer(folder).save_pretrained(at)
    return at


@pytest.mark.parametrize(
    ("step", "values", "processes"),
    [
        ("kd", {"w_attn": 0.5, "attention_layers": {1: 0}, "gradient_checkpointing": True, "dtype": "bfloat16"}, 2),
        ("dae", {**EXPERTS, "lambda": 0.7}, 3),
        ("sft", {"lora": {"rank": 4, "alpha": 16.0}}, 2),
    ],
)
def test_shares_train_as_one_process(trained: Trained, step: str, values: dict[str, Any], processes: int) -> None:
    """Attention maps, recomputed layers, a teacher in bfloat16; teachers without rows in a process; adapters."""
    want = trained(step, 1, values)
    same(trained(step, processes, values), want)


def test_processes_share_the_answers_that_a_student_makes(trained: Trained) -> None:
    values = {"max_new_tokens": 8, "sampled": 0.8, "sample_every": 2}
    want = trained("on_policy", 1, values)
    same(trained("on_policy", 2, values, sharding="none"), want)


def test_a_tied_mixture_trains_as_in_one_process(trained: Trained, tmp_path: Path) -> None:
    build(parse_spec(SPARSE), tmp_path / "sparse")
    student = tied(tmp_path / "sparse", tmp_path / "tied")
    values = {"router_loss": 0.1, "lambda": 0.5}
    want = trained("kd", 1, values, student)
    same(trained("kd", 2, values, student), want)


class _Stopped(Exception):
    pass


def _stop_at_4(done: int, total: int, unit: str, **_: Any) -> None:
    if unit == "steps" and done >= 4:
        raise _Stopped


def test_a_stopped_training_goes_on_in_another_number_of_processes(trained: Trained) -> None:
    want = trained("kd", 1, {})
    with pytest.raises(_Stopped):
        trained("kd", 2, {}, progress=_stop_at_4, work="shared")
    told: list[int] = []
    out = trained("kd", 3, {}, progress=lambda done, *_, **__: told.append(done), work="shared")
    assert min(told) > 2, "it began at a checkpoint"
    same(out, want)


def kill(victim: str) -> list[psutil.Process]:
    """Kill torchrun or the last of the training's processes; returns these, torchrun, and the guard above it."""
    there = psutil.Process().children(recursive=True)
    modules = {"torchrun": "torch.distributed.run", "process": CHILD}
    [*_, last] = [p for p in there if modules[victim] in p.cmdline() and GUARD not in p.cmdline()]
    last.kill()
    return there


@pytest.mark.timeout(600)
def test_killed_processes_leave_none_behind_and_the_training_goes_on(trained: Trained) -> None:
    """kill -9 early and late: torchrun notices that a process has died, and the processes that torchrun has."""
    values = {"epochs": 10.0}
    messages = {"process": r"killed \(SIGKILL\)", "torchrun": "a training process ended with code"}
    want = trained("kd", 1, values)
    for victim, step in (("process", 1), ("torchrun", 5), ("process", 14), ("torchrun", 22)):
        there: list[psutil.Process] = []

        def kill_at(done: int, total: int, unit: str, **_: Any) -> None:
            if unit == "steps" and done >= step and not there:  # noqa: B023 (called within the loop's round)
                there.extend(kill(victim))  # noqa: B023

        with pytest.raises(HarnessError, match=messages[victim]):
            trained("kd", 2, values, progress=kill_at, work="shared")
        assert len(there) >= 4
        _, alive = psutil.wait_procs(there, timeout=30)
        assert alive == []
    told: list[int] = []
    out = trained("kd", 2, values, progress=lambda done, *_, **__: told.append(done), work="shared")
    assert min(told) > 20, "it began at a checkpoint"
    same(out, want)


def test_nothing_is_left_of_a_training_whose_owner_is_killed(trained: Trained) -> None:
    values = {"epochs": 10.0}
    context = multiprocessing.get_context("fork")
    up, said = context.Pipe(duplex=False)
    owner = context.Process(
        target=trained, args=("kd", 2, values), kwargs={"progress": lambda *_, **__: said.send(1), "work": "shared"}
    )
    owner.start()
    assert owner.pid is not None
    assert up.recv() == 1
    there = psutil.Process(owner.pid).children(recursive=True)
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    _, alive = psutil.wait_procs(there, timeout=30)
    assert len(there) >= 4
    assert alive == []
    same(trained("kd", 2, values, work="shared"), trained("kd", 1, values))


def test_shares_and_whole_models_have_no_checkpoint_in_common(trained: Trained) -> None:
    with pytest.raises(_Stopped):
        trained("sft", 2, {}, progress=_stop_at_4, sharding="none", work="shared")
    with pytest.raises(HarnessError, match="started with whole models"):
        trained("sft", 2, {}, work="shared")


def test_models_that_cannot_be_shared_out(trained: Trained, pocket_folder: Path, tmp_path: Path) -> None:
    build(parse_spec(SPARSE), tmp_path / "sparse")
    with pytest.raises(HarnessError, match="4 rows for 5 processes"):
        trained("sft", 5, {}, tmp_path / "sparse")
    tokenizer = load_tokenizer(pocket_folder)
    other = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=1, n_head=2))
    other.save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(HarnessError, match="GPT2LMHeadModel cannot be shared out"):
        trained("sft", 2, {}, tmp_path / "other")


def test_a_quantised_teacher_is_not_shared_out(trained: Trained, teacher_folder: Path) -> None:
    config = read_json(teacher_folder / "config.json")
    try:
        write_json(teacher_folder / "config.json", config | {"quantization_config": {"quant_method": "fp8"}})
        with pytest.raises(HarnessError, match=r"quantised \(fp8\)"):
            trained("kd", 2, {})
    finally:
        write_json(teacher_folder / "config.json", config)
