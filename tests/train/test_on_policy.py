"""On-policy distillation: TRL's loss, the engine's answers, the same bytes after a kill, and ends of bad states."""

import math
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import kl_div

from harness.core.errors import HarnessError
from harness.core.lines import read_json, read_lines, write_lines
from harness.data.conversations import read_conversations
from harness.generate.api import Answer, GenerateSettings, Request
from harness.generate.prompts import stop_ids
from harness.generate.transformers_engine import TransformersEngine
from harness.models.chat import encode_prompt
from harness.models.load import load_model, load_tokenizer
from harness.train.api import Batch, Sum, steps
from harness.train.batches import EffectiveBatches
from harness.train.flops import active_weights
from harness.train.job import TrainJob, TrainPlace
from harness.train.losses import IGNORED, live_teacher
from harness.train.run import train
from harness.train.sampling import CUT, EMPTY, ENTROPY, LENGTH, LOGPROB, REPETITION, Limits, Sampler, _repeated, check
from harness.train.settings import Sampling, StepSettings
from harness.train.steps.dae import DAESettings, dae_loss
from harness.train.steps.on_policy import OnPolicySettings, on_policy_loss
from tests.train import killed
from tests.train.stored import stored

Run = Callable[..., Path]
Curve = Callable[[Path], list[dict[str, float]]]
EXPERTS = {"data": "mix", "experts": {"shop": "pocket:a", "law": "pocket:b"}}


def trl_loss(student: torch.Tensor, teacher: torch.Tensor, beta: float) -> torch.Tensor:
    """`generalized_jsd_loss` of TRL 1.16 for logits (N, V), summed over positions: its signs and its mixture."""
    log_q, log_p = student.log_softmax(-1), teacher.log_softmax(-1)
    if beta == 0:
        return kl_div(log_q, log_p, reduction="sum", log_target=True)
    if beta == 1:
        return kl_div(log_p, log_q, reduction="sum", log_target=True)
    log_m = torch.logsumexp(torch.stack([log_q + math.log1p(-beta), log_p + math.log(beta)]), dim=0)
    of_teacher, of_student = (kl_div(log_m, x, reduction="sum", log_target=True) for x in (log_p, log_q))
    return beta * of_teacher + (1 - beta) * of_student


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Four rows, the last two written by the student; two are of a domain."""
    ids = torch.randint(5, 100, (4, 9), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[:, :3] = IGNORED
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "labels": labels,
        "row": torch.arange(4),
        "domain": torch.tensor([0, 1, 0, 2]),
        "sampled": torch.tensor([False, False, True, True]),
    }


def _is(part: Sum, value: object, count: float) -> None:
    assert part[0] == value
    assert part[1] == count


def _logits(model: Any, batch: Batch) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=batch["input_ids"]).logits[:, 2:-1]
    return logits.flatten(0, 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 0.1])
def test_the_loss_is_trls(models: list[Any], batch: dict[str, torch.Tensor], beta: float, dtype: torch.dtype) -> None:
    """In both types against TRL's formula in float64, gradients too."""
    student, teacher = models[:2]
    want = trl_loss(_logits(student, batch), _logits(teacher, batch), beta)
    wanted = torch.autograd.grad(want, list(student.parameters()))
    objective = on_policy_loss(OnPolicySettings(beta=beta), {"teacher": live_teacher(teacher.to(dtype))}, 122)
    loss = objective(student.to(dtype), batch)
    got = torch.autograd.grad(loss.total, list(student.parameters()))
    close = {"rtol": 1e-9, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-4}
    try:
        torch.testing.assert_close(loss.total.double(), want, **close)
        for mine, theirs in zip(got, wanted, strict=True):
            torch.testing.assert_close(mine.double(), theirs, **close)
    finally:
        student.double(), teacher.double()


def test_the_parts_tell_samples_from_data(models: list[Any], batch: dict[str, torch.Tensor]) -> None:
    student, teacher = models[:2]
    parts = on_policy_loss(OnPolicySettings(beta=1), {"teacher": live_teacher(teacher)}, 122)(student, batch).parts
    rows = {name: {k: v[b] for k, v in batch.items()} for name, b in (("data", slice(2)), ("sampled", slice(2, 4)))}
    for name, own in rows.items():
        logits, taught = _logits(student, own), _logits(teacher, own)
        _is(parts[f"loss/{name}"], pytest.approx(trl_loss(logits, taught, 1).item()), 12)
        assert parts[f"agreement/{name}"] == (float((logits.argmax(-1) == taught.argmax(-1)).sum()), 12)
    taught = _logits(teacher, rows["sampled"]).log_softmax(-1)
    drawn = rows["sampled"]["labels"][:, 3:].flatten()
    _is(parts["logprob/teacher"], pytest.approx(taught.gather(-1, drawn[:, None]).sum().item()), 12)
    assert parts.keys() == {"loss/data", "loss/sampled", "agreement/data", "agreement/sampled", "logprob/teacher"}


def test_with_experts_each_row_has_its_teacher_as_in_dae(models: list[Any], batch: dict[str, torch.Tensor]) -> None:
    student = models[0]
    roles = dict(zip(("reference", "shop", "law"), map(live_teacher, models[1:]), strict=True))
    settings = OnPolicySettings.model_validate({**EXPERTS, "beta": 0})
    routed = on_policy_loss(settings, roles, 122)(student, batch)
    dae = dae_loss(DAESettings.model_validate(EXPERTS), roles, 122)(student, batch)
    torch.testing.assert_close(routed.total, dae.total)
    for name in ("general", "shop", "law"):
        assert routed.parts[f"loss/{name}"] == dae.parts[f"loss/{name}"]
    step = steps()["on_policy"]
    assert step.teachers(settings) == {"reference": "teacher", "shop": "pocket:a", "law": "pocket:b"}
    assert step.asks("shop", "shop")
    assert not step.asks("shop", "law")
    assert step.asks("teacher", "law")


def test_without_samples_it_is_kd(run: Run) -> None:
    kd, data = run("kd", {}), run("data", on_policy={"sampled": 0, "beta": 0})
    weights = [(out / "model" / "model.safetensors").read_bytes() for out in (kd, data)]
    assert weights[0] == weights[1]


@pytest.fixture
def sampler(pocket_folder: Path, conversations: Path, tmp_path: Path) -> Callable[..., Sampler]:
    def _sampler(**how: Any) -> Sampler:
        model, tokenizer = load_model(pocket_folder, "float32"), load_tokenizer(pocket_folder)
        examples = stored(conversations, pocket_folder, tmp_path / "tokens").examples
        limits = Limits(stop_ids(tokenizer, model.generation_config), 512)
        sampling = Sampling(**{"share": 1.0, "temperature": 1.0, "max_new_tokens": 8, "every": 1, **how})
        return Sampler(model, sampling, limits, examples, EffectiveBatches(48, 16, 3), 5, lambda tokens: None)

    return _sampler


def test_answers_are_the_engines_to_the_same_prompts(
    sampler: Callable[..., Sampler], pocket_folder: Path, conversations: Path
) -> None:
    """Of a conversation with several turns the last answer is sampled, and the turns before are read alone."""
    made = sampler()
    examples, _ = made(0, 3)
    tokenizer, chats = load_tokenizer(pocket_folder), list(read_conversations(conversations))
    assert any(len(chat.messages) > 2 for chat in chats)
    requests = [
        Request(str(e["row"]), tuple(chats[e["row"]].messages[:-1]), 1.0, 8, made._row(0, data).seed)
        for e in examples
        for data in [made._examples[e["row"]]]
    ]
    answers: list[Answer] = []
    TransformersEngine(tokenizer, made._model, GenerateSettings()).complete(requests, answers.extend)
    by_row = {int(answer.id): answer for answer in answers}
    for example, request in zip(examples, requests, strict=True):
        prompt = encode_prompt(tokenizer, request.messages)
        assert example["sampled"]
        assert example["input_ids"][: len(prompt)].tolist() == prompt
        assert (example["labels"][: len(prompt)] == IGNORED).all()
        drawn = example["labels"][len(prompt) :].tolist()
        assert drawn == example["input_ids"][len(prompt) :].tolist()
        answer = by_row[example["row"]]
        assert (len(drawn),) == answer.tokens
        assert tokenizer.decode(drawn, skip_special_tokens=True) == answer.turns[0]


def test_answers_differ_by_step_and_seed_not_by_how_many_are_made_at_once(sampler: Callable[..., Sampler]) -> None:
    one, three, other = sampler(), sampler(every=3), sampler()
    other._seed = 6

    def answers(made: Sampler, step: int) -> list[list[int]]:
        return [example["input_ids"].tolist() for example in made(step, 4)[0]]

    first = answers(one, 0)
    assert answers(one, 3) != first  # the next epoch
    assert answers(other, 0) != first
    assert answers(three, 0) == first
    assert [answers(three, step) for step in (1, 2)] == [answers(one, step) for step in (1, 2)]
    assert set(three._made) == set()


def test_a_share_of_the_rows_is_sampled(sampler: Callable[..., Sampler]) -> None:
    made = sampler(share=0.5, every=48)
    examples = [example for step in range(48) for example in made(step, 48)[0]]
    share = sum(example["sampled"] for example in examples) / len(examples)
    assert share == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / len(examples)))
    for example in examples:
        if not example["sampled"]:
            assert example["labels"].tolist() == made._examples[example["row"]]["labels"].tolist()


def test_what_is_told_of_answers_is_what_the_model_says_of_them(sampler: Callable[..., Sampler]) -> None:
    made = sampler()
    examples, facts = made(0, 3)
    logprob = entropy = tokens = cut = empty = 0.0
    for example in examples:
        with torch.no_grad():
            log_q = made._model(torch.tensor(example["input_ids"])[None]).logits[0].log_softmax(-1)
        labels = torch.tensor(example["labels"][1:])
        at = (labels != IGNORED).nonzero()[:, 0]
        logprob += float(log_q[at].gather(-1, labels[at, None]).sum())
        entropy += float(-(log_q[at].exp() * log_q[at]).sum())
        tokens += len(at)
        ends = int(labels[-1]) in made._limits.stops
        cut += not ends
        empty += ends and len(at) == 1
    assert facts[LENGTH] == (tokens, 16)
    assert facts[CUT] == (cut, 16)
    assert facts[EMPTY] == (empty, 16)
    _is(facts[LOGPROB], pytest.approx(logprob, rel=1e-5), tokens)
    _is(facts[ENTROPY], pytest.approx(entropy, rel=1e-5), tokens)


def test_repetition_is_of_runs_of_four() -> None:
    assert _repeated([1, 2, 3]) == (0, 0)
    assert _repeated([1, 2, 3, 4, 5]) == (0, 2)
    assert _repeated([1, 1, 1, 1, 1, 1]) == (2, 3)


def _state(cut: float = 0.0, empty: float = 0.0, length: float = 5.0) -> dict[str, float]:
    return {CUT: cut, EMPTY: empty, LENGTH: length, REPETITION: 0.0}


@pytest.mark.parametrize(
    ("curve", "fault"),
    [
        ([_state(cut=1.0)] * 10, "every answer of the student was cut at 7 tokens"),
        ([_state(empty=1.0)] * 10, "every answer of the student was empty"),
        ([_state()] * 10 + [_state(cut=0.6, length=21)] * 10, "exploded: 5 tokens at first, 21 in the last 10"),
        ([_state(cut=1.0)] * 9, None),
        ([_state(cut=1.0)] * 9 + [_state(cut=0.9)], None),
        ([_state()] * 10 + [_state(cut=0.4, length=21)] * 10, None),
        ([{"loss": 1.0}] * 50, None),
    ],
)
def test_a_bad_state_ends_with_its_name(curve: list[Mapping[str, float]], fault: str | None) -> None:
    how = Sampling(1.0, 1.0, 7, 1)
    if fault is None:
        check(curve, how)
    else:
        with pytest.raises(HarnessError, match=fault):
            check(curve, how)


def test_a_training_whose_answers_are_all_cut_stops(run: Run) -> None:
    with pytest.raises(HarnessError, match="every answer of the student was cut at 1 tokens"):
        run(on_policy={"max_new_tokens": 1, "sampling_temperature": 0, "learning_rate": 1e-9}, max_steps=12)


def test_operations_count_sampling_and_teacher(
    run: Run, curve: Curve, pocket_folder: Path, teacher_folder: Path, conversations: Path, tmp_path: Path
) -> None:
    """Of a token: 6 per weight of the student, 2 of the teacher's, and 2 of the student's as it wrote the answer."""
    out = run(on_policy={"max_new_tokens": 8}, batch_size=48, max_steps=1)
    rows = list(read_conversations(conversations))
    tokenizer = load_tokenizer(pocket_folder)
    prompts = sum(len(encode_prompt(tokenizer, chat.messages[:-1])) for chat in rows)
    tokens = prompts + 48 * curve(out)[0][LENGTH]
    student, teacher = (active_weights(load_model(folder, "float32")) for folder in (pocket_folder, teacher_folder))
    assert read_json(out / "training.json")["train_flops"] == pytest.approx((8 * student + 2 * teacher) * tokens)


def test_adapters_and_bfloat16_sample_too(run: Run, curve: Curve) -> None:
    for values in ({"lora": {"rank": 4}}, {"dtype": "bfloat16"}, {"gradient_checkpointing": True}):
        out = run(on_policy={"max_new_tokens": 6, "sampled": 0.5, "beta": 0.5}, max_steps=2, **values)
        assert {"loss/sampled", "loss/data", "logprob/teacher", "logprob/student"} <= curve(out)[0].keys()
        shutil.rmtree(out)
        shutil.rmtree(out.with_name("run-work"))


def test_it_comes_nearer_to_the_teacher_where_it_goes_itself(run: Run, curve: Curve) -> None:
    lines = curve(run(on_policy={"max_new_tokens": 8, "beta": 0.5}, epochs=6.0))
    assert lines[-1]["loss/sampled"] < 0.5 * lines[0]["loss/sampled"]


def kill(job: TrainJob, place: TrainPlace, moments: list[tuple[int, float]]) -> None:
    """Start the training once for each moment, and kill it so long after it has finished a step."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(killed.PRELOAD)
    for number, (step, later) in enumerate(moments):
        told = place.out.with_name(f"steps-{number}")
        process = server.Process(target=killed.run, args=(job, place, told))
        process.start()
        deadline = time.monotonic() + 120
        while process.is_alive() and not (told.exists() and int((told.read_text().split() or ["0"])[-1]) >= step):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(later)
        assert process.pid is not None
        assert process.is_alive(), "the training was over before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL


def check_kills(tmp_path: Path, folders: list[Path], data: Path, moments: list[tuple[int, float]]) -> None:
    """The weights and the curve of a training that was killed are those of one that was not."""
    student, teacher = folders
    values = {"batch_size": 8, "micro_batch_size": 4, "learning_rate": 5e-3, "epochs": 10.0, "save_every": 2}
    step = steps()["on_policy"]
    settings = step.settings.model_validate({**values, "sampled": 0.7, "max_new_tokens": 8, "sample_every": 3})
    assert isinstance(settings, StepSettings)
    tokens = stored(data, student, tmp_path / "tokens").tokens
    made = []
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        place = TrainPlace(
            student, tokens, tmp_path / name, tmp_path / f"{name}-work", tmp_path / "events", {"teacher": teacher}
        )
        job = TrainJob(step, settings, 0, name)
        if name == "killed":
            kill(job, place, moments)
        train(job, place, lambda *_, **__: None)
        files = ("model/model.safetensors", "log.jsonl")
        made.append([(place.out / file).read_bytes() for file in files])
    assert made[0] == made[1]
    assert len(list(read_lines(tmp_path / "whole" / "log.jsonl"))) == 60


def test_a_killed_training_goes_on_to_the_same_bytes(
    pocket_folder: Path, teacher_folder: Path, conversations: Path, tmp_path: Path
) -> None:
    """Killed among the steps that one sampling serves, and in a later epoch."""
    check_kills(tmp_path, [pocket_folder, teacher_folder], conversations, [(4, 0.0), (13, 0.01), (31, 0.005)])


@pytest.mark.slow
def test_ten_kills_change_nothing(
    pocket_folder: Path, teacher_folder: Path, conversations: Path, tmp_path: Path
) -> None:
    moments = [(5 * k + 1, 0.004 * k) for k in range(10)]
    check_kills(tmp_path, [pocket_folder, teacher_folder], conversations, moments)


def test_a_stopped_step_goes_on_among_experts(
    pocket_folder: Path, teacher_folder: Path, conversations: Path, tmp_path: Path
) -> None:
    """Rows of domains are sampled, each taught by its own teacher."""
    rows = [
        {**row, "domain": [None, "shop", "law"][number % 3]} for number, row in enumerate(read_lines(conversations))
    ]
    write_lines(tmp_path / "mix.jsonl", rows)
    step = steps()["on_policy"]
    settings = step.settings.model_validate({**EXPERTS, "batch_size": 8, "max_new_tokens": 6, "max_steps": 3})
    assert isinstance(settings, StepSettings)
    data = stored(tmp_path / "mix.jsonl", pocket_folder, tmp_path / "tokens", domains=("shop", "law"))
    teachers = {"reference": pocket_folder, "shop": teacher_folder, "law": teacher_folder}
    out = tmp_path / "out"
    out.mkdir()
    place = TrainPlace(pocket_folder, data.tokens, out, tmp_path / "work", tmp_path / "events", teachers, mix=data.mix)
    train(TrainJob(step, settings, 0, "mopd", data.domains), place, lambda *_, **__: None)
    first = next(iter(read_lines(out / "log.jsonl")))
    assert {"loss/general", "loss/shop", "loss/law", "agreement/sampled"} <= first.keys()
    assert first["loss/general"] == pytest.approx(0, abs=1e-6)  # its teacher is the student that it starts from
    assert first["loss/shop"] > 0.01
