import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from harness.core.errors import HarnessError
from harness.core.lines import read_json, read_lines
from harness.models.load import load_model, load_tokenizer
from harness.models.pocket import build, parse_spec
from harness.train.trainer import last_checkpoint
from tests.models.quantised import quantise

Run = Callable[..., Path]
Curve = Callable[[Path], list[dict[str, float]]]


def _bytes(out: Path) -> dict[str, bytes]:
    """Every file by name; of training.json all but the time it took."""
    files = {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
    summary = {k: v for k, v in json.loads(files["training.json"]).items() if k != "seconds"}
    return files | {"training.json": json.dumps(summary).encode()}


def test_writes_a_model_that_loads_a_curve_and_counts(run: Run, curve: Curve, pocket_folder: Path) -> None:
    told: list[tuple[Any, ...]] = []
    out = run(epochs=3.0, progress=lambda *step, **values: told.append((*step, values["loss"])))
    load_model(out / "model", "float32")
    assert load_tokenizer(out / "model").chat_template == load_tokenizer(pocket_folder).chat_template
    for name in ("config.json", "generation_config.json"):
        assert json.loads((out / "model" / name).read_text()) == json.loads((pocket_folder / name).read_text())
    lines = curve(out)
    assert set(lines[0]) == {"step", "loss", "learning_rate", "grad_norm", "tokens"}
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert [(line["step"], 18, "steps", line["loss"]) for line in lines] == told
    summary = json.loads((out / "training.json").read_text())
    assert (summary["rows"], summary["trained_rows"], summary["steps"]) == (48, 48, 18)
    assert 3 * summary["response_tokens"] == sum(line["tokens"] for line in lines)


@pytest.mark.parametrize("kd", [None, {"lambda": 0.5, "temperature": 2.0}])
def test_accumulated_parts_give_the_gradient_of_one_batch(run: Run, curve: Curve, kd: dict[str, float] | None) -> None:
    """Parts hold different numbers of response tokens: a mean of their means would be another gradient."""
    first, *others = [
        run(f"parts-{size}", kd, batch_size=16, micro_batch_size=size, max_steps=1, max_grad_norm=1e9)
        for size in (16, 4, 1)
    ]
    want = curve(first)[0]
    for other in others:
        got = curve(other)[0]
        assert got["tokens"] == want["tokens"]
        assert got["loss"] == pytest.approx(want["loss"], rel=1e-5)
        assert got["grad_norm"] == pytest.approx(want["grad_norm"], rel=1e-4)


class _Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def wholes() -> dict[str, dict[str, bytes]]:
    """What undisturbed runs of two epochs wrote, for whoever comes first to make them."""
    return {}


@pytest.mark.parametrize("kd", [None, {"lambda": 0.5}])
@pytest.mark.parametrize("stop", [5, 12])
def test_stopped_run_goes_on_to_the_same_bytes(
    run: Run, wholes: dict[str, dict[str, bytes]], kd: dict[str, float] | None, stop: int
) -> None:
    """Stops within the first and at the end of the second epoch; checkpoints are at even steps."""

    def stopping(done: int, *_: Any, **__: Any) -> None:
        if done == stop:
            raise _Stopped

    if str(kd) not in wholes:
        wholes[str(kd)] = _bytes(run("whole", kd, epochs=2.0, save_every=2))
    with pytest.raises(_Stopped):
        run("stopped", kd, epochs=2.0, save_every=2, progress=stopping)
    steps: list[int] = []
    resumed = run("stopped", kd, epochs=2.0, save_every=2, progress=lambda done, *_, **__: steps.append(done))
    assert steps[0] == (5 if stop == 5 else 11)
    assert _bytes(resumed) == wholes[str(kd)]


def test_run_killed_after_its_last_step_only_writes(run: Run) -> None:
    out = run(save_every=2)
    first, steps = _bytes(out), list[int]()
    shutil.rmtree(out)
    assert _bytes(run(save_every=2, progress=lambda done, *_, **__: steps.append(done))) == first
    assert steps == []


def test_a_clock_set_back_loses_no_checkpoint(run: Run, tmp_path: Path) -> None:
    """Those of before lie in the future; the next stop, too, goes on from the last one."""

    def stopping(at: int) -> Callable[..., None]:
        def stop(done: int, *_: Any, **__: Any) -> None:
            if done == at:
                raise _Stopped

        return stop

    with pytest.raises(_Stopped):
        run("stopped", epochs=2.0, save_every=2, progress=stopping(5))
    (checkpoint,) = tmp_path.rglob("checkpoint-4")
    tomorrow = time.time() + 86400
    os.utime(checkpoint, (tomorrow, tomorrow))
    with pytest.raises(_Stopped):
        run("stopped", epochs=2.0, save_every=2, progress=stopping(7))
    assert [p.name for p in checkpoint.parent.glob("checkpoint-*")] == ["checkpoint-6"]
    assert _bytes(run("stopped", epochs=2.0, save_every=2)) == _bytes(run("whole", epochs=2.0, save_every=2))


def test_torn_checkpoint_is_passed_over(tmp_path: Path) -> None:
    for step, state in ((2, '{"global_step": 2}'), (4, '{"global_step": 4'), (10, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state:
            (folder / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    assert last_checkpoint(tmp_path / "absent") is None


def test_seed_decides_everything(run: Run) -> None:
    same = [_bytes(run(f"seed-{i}", seed=seed)) for i, seed in enumerate((1 << 62, 1 << 62, 5))]
    assert same[0] == same[1]
    assert same[0]["model/model.safetensors"] != same[2]["model/model.safetensors"]


@pytest.mark.parametrize(
    ("schedule", "warmup", "want"),
    [
        ("constant", 0, [1, 1, 1, 1, 1, 1]),
        ("constant", 2, [0, 0.5, 1, 1, 1, 1]),
        ("constant_with_warmup", 2, [0, 0.5, 1, 1, 1, 1]),
        ("linear", 0, [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ("linear", 2, [0, 0.5, 1, 0.75, 0.5, 0.25]),
        ("cosine", 2, [0, 0.5, 1, 0.853553, 0.5, 0.146447]),
    ],
)
def test_schedule_and_warm_up_are_read(run: Run, curve: Curve, schedule: str, warmup: int, want: list[float]) -> None:
    out = run(schedule=schedule, warmup_steps=warmup)
    rates = [line["learning_rate"] / 5e-3 for line in curve(out)]
    assert rates == pytest.approx(want, abs=1e-5)


def test_max_steps_overrides_epochs(run: Run, curve: Curve) -> None:
    assert len(curve(run(max_steps=8, epochs=1.0))) == 8


def test_bfloat16_trains_and_writes_float32(run: Run, curve: Curve) -> None:
    plain, rounded = run("float32"), run("bfloat16", dtype="bfloat16")
    losses = [[line["loss"] for line in curve(out)] for out in (plain, rounded)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert {w.dtype for w in load_file(rounded / "model" / "model.safetensors").values()} == {torch.float32}


def test_distillation_comes_nearer_to_the_teacher(run: Run, curve: Curve) -> None:
    lines = curve(run(kd={}, epochs=4.0))
    assert lines[-1]["loss"] < 0.6 * lines[0]["loss"]


def test_other_tokenizer_is_refused_before_weights_are_read(run: Run, teacher_folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(teacher_folder, tmp_path / "other"))
    (other / "model.safetensors").unlink()
    text = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(text.replace('"red"', '"scarlet"'))
    with pytest.raises(HarnessError, match="different tokenizers") as caught:
        run(kd={}, teacher=other)
    assert str(other) in caught.value.what
    assert "sft" in caught.value.fix


def test_loss_that_is_no_number_stops_the_run(run: Run) -> None:
    with pytest.raises(HarnessError, match="at step") as caught:
        run(learning_rate=1e30, max_grad_norm=1e30, schedule="constant")
    assert "learning rate" in caught.value.fix


@pytest.mark.parametrize("limit", [{"micro_batch_size": 3}, {"micro_batch_tokens": 150}, {"micro_batch_tokens": 1}])
def test_how_a_batch_is_cut_changes_no_result(run: Run, curve: Curve, limit: dict[str, int]) -> None:
    whole, parts = run("whole", micro_batch_size=8), run("parts", **limit)
    for got, want in zip(curve(parts), curve(whole), strict=True):
        assert got == pytest.approx(want, rel=1e-4)


def test_random_state_of_the_process_is_left_alone(run: Run) -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    drawn = random.random(), np.random.random(), torch.rand(1).item()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    run(max_steps=1)
    assert (random.random(), np.random.random(), torch.rand(1).item()) == drawn


@pytest.mark.slow
def test_a_real_model_learns_and_teaches(run: Run, curve: Curve, smollm2_folder: Path, conversations: Path) -> None:
    size = {"batch_size": 4, "micro_batch_size": 2, "max_steps": 3, "learning_rate": 1e-4}
    tuned = run("tuned", student=smollm2_folder, schedule="constant", **size)
    lines = curve(tuned)
    assert lines[-1]["loss"] < lines[0]["loss"]
    taught = run("taught", {"temperature": 2.0}, student=smollm2_folder, teacher=tuned / "model", **size)
    assert 0 < curve(taught)[0]["loss"] < lines[0]["loss"]


def test_a_quantised_student_is_refused(run: Run, tmp_path: Path) -> None:
    build(parse_spec("llama?layers=1&width=32&heads=4"), tmp_path / "student")
    quantise(tmp_path / "student")
    with pytest.raises(HarnessError, match=r"quantised \(fp8\) and cannot be trained") as caught:
        run(student=tmp_path / "student")
    assert "unquantised checkpoint" in caught.value.fix


def test_a_quantised_teacher_teaches_and_is_told(run: Run, tmp_path: Path) -> None:
    build(parse_spec("llama?layers=1&width=32&heads=4&seed=9"), tmp_path / "teacher")
    plain = run("plain", kd={}, teacher=tmp_path / "teacher", max_steps=1)
    assert "quantised_teachers" not in read_json(plain / "training.json")
    quantise(tmp_path / "teacher")
    out = run("quantised", kd={}, teacher=tmp_path / "teacher", max_steps=1)
    assert read_json(out / "training.json")["quantised_teachers"] == {"teacher": "fp8"}
    losses = [next(read_lines(folder / "log.jsonl"))["loss"] for folder in (out, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[0] != losses[1]
