"""What the trainer counts, keeps and measures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers.models.llama.modeling_llama import LlamaMLP

from harness.core.lines import read_lines, write_lines
from harness.models.load import load_model
from harness.models.pocket import build, parse_spec
from harness.train.api import Batch, Loss, Objective, Step
from harness.train.examples import collate, hold_out
from harness.train.flops import active_weights
from harness.train.job import TrainJob, TrainPlace
from harness.train.losses import IGNORED
from harness.train.run import train
from harness.train.settings import HeldOut, StepSettings
from harness.train.steps.sft import sft_loss
from tests.train.stored import stored

Run = Callable[..., Path]
Curve = Callable[[Path], list[dict[str, float]]]


def _summary(out: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((out / "training.json").read_text())
    return summary


def test_parts_are_summed_over_the_effective_batch(pocket_folder: Path, conversations: Path, tmp_path: Path) -> None:
    """Two rows are of a domain: a step that has none of them has no such part."""
    rows = list(read_lines(conversations))[:20]
    write_lines(tmp_path / "mix.jsonl", ({**row, "domain": "shop" if i < 2 else None} for i, row in enumerate(rows)))
    seen: list[list[tuple[int, int, int]]] = []

    def objective(settings: Any, teachers: Any, vocab_size: int) -> Objective:
        def loss(student: Any, batch: Batch) -> Loss:
            tokens = (batch["labels"] != IGNORED).sum(dim=1)
            seen.append(list(zip(batch["row"].tolist(), batch["domain"].tolist(), tokens.tolist(), strict=True)))
            mine = batch["domain"] == 1
            part = (float(tokens[mine].sum()), float(mine.sum()))
            return Loss(sft_loss(student, batch).total, {"tokens/shop": part})

        return loss

    settings = StepSettings(batch_size=8, micro_batch_size=2)
    data = stored(tmp_path / "mix.jsonl", pocket_folder, tmp_path / "tokens", domains=["shop"])
    work, events = tmp_path / "work", tmp_path / "events"
    place = TrainPlace(pocket_folder, data.tokens, tmp_path, work, events, mix=data.mix)
    train(TrainJob(Step("odd", StepSettings, objective), settings, 0, "odd", ["shop"]), place, lambda *_, **__: None)
    assert sorted(row for batch in seen for row, _, _ in batch) == list(range(20))
    assert {row for batch in seen for row, domain, _ in batch if domain} == {0, 1}
    for number, line in enumerate(read_lines(tmp_path / "log.jsonl")):
        step = [one for batch in seen[4 * number : 4 * number + 4] for one in batch]
        assert line["tokens"] == sum(tokens for _, _, tokens in step)
        of_shop = [tokens for _, domain, tokens in step if domain]
        assert line.get("tokens/shop") == (sum(of_shop) / len(of_shop) if of_shop else None)
    summary = _summary(tmp_path)
    assert {name: part["rows"] for name, part in summary["domains"].items()} == {"general": 18, "shop": 2}
    assert sum(part["response_tokens"] for part in summary["domains"].values()) == summary["response_tokens"]


def test_operations_are_six_per_weight_and_token(
    run: Run, pocket_folder: Path, conversations: Path, tmp_path: Path
) -> None:
    tokens = sum(stored(conversations, pocket_folder, tmp_path / "counted").examples.lengths)
    student = load_model(pocket_folder, "float32")
    whole = sum(w.numel() for w in student.parameters()) - student.get_input_embeddings().weight.numel()
    assert active_weights(student) == whole
    assert _summary(run("plain"))["train_flops"] == 6 * whole * tokens
    adapted = _summary(run("lora", lora={"rank": 1}))["train_flops"]
    assert 4 * whole * tokens < adapted < 5 * whole * tokens
    assert _summary(run("taught", kd={}))["train_flops"] > 6 * whole * tokens


def test_a_token_meets_the_experts_it_is_routed_to(tmp_path: Path) -> None:
    counts = []
    for experts, per_token in ((2, 1), (4, 1), (4, 2)):
        folder = tmp_path / f"{experts}-{per_token}"
        build(parse_spec(f"mixtral?layers=1&width=16&heads=2&experts={experts}&per_token={per_token}"), folder)
        counts.append(active_weights(load_model(folder, "float32")))
    router, expert = 2 * 16, 3 * 16 * 32
    assert counts[1] - counts[0] == router
    assert counts[2] - counts[1] == expert


def test_layers_computed_again_give_the_same(run: Run, curve: Curve, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = 0
    forward = LlamaMLP.forward

    def counting(self: Any, x: Any) -> Any:
        nonlocal passes
        passes += 1
        return forward(self, x)

    monkeypatch.setattr(LlamaMLP, "forward", counting)
    plain, once = run("plain", dtype="float32"), passes
    again = run("again", gradient_checkpointing=True)
    assert passes - once > 1.8 * once
    for got, want in zip(curve(again), curve(plain), strict=True):
        assert got == pytest.approx(want, rel=1e-5)
    weights = [load_file(out / "model" / "model.safetensors") for out in (again, plain)]
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-5)


class _Stopped(Exception):
    pass


@pytest.mark.parametrize("stop", [4, 5, 7])
def test_what_is_kept_outlives_a_stop(run: Run, stop: int) -> None:
    """Before, after and long after the kept step 4; step checkpoints are every third."""

    def stopping(done: int, *_: Any, **__: Any) -> None:
        if done == stop:
            raise _Stopped

    given: dict[str, Any] = {"epochs": 2.0, "save_every": 3, "checkpoints": (1 / 3, 0.9, 1.0)}
    whole = run("whole", **given)
    assert sorted(p.name for p in whole.iterdir() if p.is_dir()) == ["checkpoint-0.333333", "checkpoint-0.9", "model"]
    with pytest.raises(_Stopped):
        run("stopped", **given, progress=stopping)
    resumed = run("stopped", **given)
    for part in ("model", "checkpoint-0.333333", "checkpoint-0.9"):
        mine, theirs = ((out / part / "model.safetensors").read_bytes() for out in (resumed, whole))
        assert mine == theirs


def test_held_out_loss_is_that_of_the_finished_model(run: Run, conversations: Path, tmp_path: Path) -> None:
    out = run(held_out=HeldOut(0.25, 5))
    _, held = hold_out(stored(conversations, out / "model", tmp_path / "again").examples, 0.25, 5)
    model = load_model(out / "model", "float32")
    tokens = sum(label != IGNORED for example in held for label in example["labels"])
    with torch.no_grad():
        want = sum(float(sft_loss(model, collate([example])).total) for example in held) / tokens
    summary = _summary(out)
    assert summary["held_out_loss"] == pytest.approx(want, rel=1e-5)
    assert (summary["held_out_rows"], summary["trained_rows"]) == (12, 36)
    assert "held_out_loss" not in _summary(run("all"))


def test_seconds_are_counted_through_a_stop(run: Run) -> None:
    assert 0 < _summary(run())["seconds"] < 60


@pytest.mark.parametrize("step", [{}, {"kd": {}}, {"on_policy": {"max_new_tokens": 8, "sample_every": 2}}])
def test_a_training_ends_with_the_step_that_reaches_its_budget(run: Run, curve: Curve, step: dict[str, Any]) -> None:
    """Stopped on the way and after its end, it goes on to the same weights; the rate falls with the share spent."""
    plain = _summary(run("plain", **step, max_steps=4))["train_flops"]
    budget = 5.5 * plain / 4
    told: list[tuple[int, int]] = []

    def stopping(done: int, total: int, *_: Any, **__: Any) -> None:
        told.append((done, total))
        if done == 5 and "stopped" in stops:
            raise _Stopped

    stops = {"stopped"}
    with pytest.raises(_Stopped):
        run("budget", **step, budget_flops=budget, save_every=2, progress=stopping)
    stops.clear()
    out = run("budget", **step, budget_flops=budget, save_every=2, progress=stopping)
    spent, steps = (_summary(out)[name] for name in ("train_flops", "steps"))
    assert budget <= spent < budget + 2 * plain / 4
    assert told[-1][0] == steps == told[-1][1]
    assert abs(told[0][1] - steps) < steps
    lines = curve(out)
    assert lines[0]["learning_rate"] == 5e-3
    assert lines[-1]["learning_rate"] < 0.35 * 5e-3
    weights = (out / "model" / "model.safetensors").read_bytes()
    assert (run("whole", **step, budget_flops=budget) / "model" / "model.safetensors").read_bytes() == weights
    told.clear()
    assert (run("budget", **step, budget_flops=budget) / "model" / "model.safetensors").read_bytes() == weights
    assert told == [], "a training that is over only writes"
