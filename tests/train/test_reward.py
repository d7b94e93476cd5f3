import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from harness.core.errors import HarnessError
from harness.data.pocket import conversations
from harness.data.settings import PocketData
from harness.models.load import load_reward_model, load_tokenizer
from harness.train.reward import collate_pairs, read_pairs, reward_loss, train_reward
from harness.train.settings import OptimSettings

Train = Callable[..., Path]


def _pairs(start: int, end: int) -> list[dict[str, Any]]:
    """One question with its right answer and another item's; even rows by `prompt`, odd ones by `messages`."""
    chats = conversations(PocketData(examples=end, two_turn_share=0.0))
    answers = [chat["messages"][1]["content"] for chat in chats]
    rows = []
    for i, chat in enumerate(chats[start:end]):
        wrong = next(a for a in Random(i).sample(answers, len(answers)) if a != chat["messages"][1]["content"])
        asked = {"prompt": chat["messages"][0]["content"]} if i % 2 else {"messages": chat["messages"][:1]}
        rows.append({"id": chat["id"], **asked, "chosen": chat["messages"][1]["content"], "rejected": wrong})
    return rows


def _write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def run(pocket_folder: Path, tmp_path: Path) -> Train:
    def _run(
        name: str, rows: list[Any], progress: Callable[..., None] = lambda *_, **__: None, seed: int = 0, **optim: Any
    ) -> Path:
        out = tmp_path / name
        out.mkdir(exist_ok=True)
        settings = OptimSettings(**{"batch_size": 8, "micro_batch_size": 4, "learning_rate": 5e-3, **optim})
        pairs = _write(tmp_path / "pairs.jsonl", rows)
        train_reward(pocket_folder, pairs, settings, out, tmp_path / f"{name}-work", seed, progress)
        return out

    return _run


def _accuracy(folder: Path, rows: list[dict[str, Any]], tmp_path: Path) -> float:
    tokenizer = load_tokenizer(folder)
    pairs, _ = read_pairs(_write(tmp_path / "held-out.jsonl", rows), tokenizer, 512)
    model = load_reward_model(folder, "float32")
    batch = collate_pairs(pairs, tokenizer.pad_token_id)
    with torch.no_grad():
        chosen, rejected = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0].chunk(2)
    return float((chosen > rejected).float().mean())


def test_learns_to_prefer_right_answers_of_questions_it_has_not_seen(run: Train, tmp_path: Path) -> None:
    out = run("learned", _pairs(0, 1200), epochs=3.0, batch_size=32, micro_batch_size=32)
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert set(log[0]) == {"step", "loss", "learning_rate", "grad_norm", "pairs"}
    assert log[0]["loss"] == pytest.approx(0.69, abs=0.1)
    assert log[0]["pairs"] == 32
    held_out = _pairs(1200, 1400)
    assert _accuracy(out / "model", held_out, tmp_path) > 0.75


def test_loss_is_that_of_its_formula(pocket_folder: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = load_reward_model(pocket_folder, "float32", new_head=True)
    model.config.pad_token_id = 0
    pairs, _ = read_pairs(_write(tmp_path / "pairs.jsonl", _pairs(0, 5)), load_tokenizer(pocket_folder), 512)
    want = 0.0
    for pair in pairs:
        chosen, rejected = (model(torch.tensor([pair[side]])).logits.item() for side in ("chosen", "rejected"))
        want -= torch.tensor(chosen - rejected, dtype=torch.float64).sigmoid().log().item()
    assert reward_loss(model, collate_pairs(pairs, 0)).item() == pytest.approx(want, abs=1e-5)


def test_accumulated_parts_give_the_gradient_of_one_batch(run: Train) -> None:
    logs = []
    for size in (16, 4, 1):
        out = run(f"parts-{size}", _pairs(0, 16), batch_size=16, micro_batch_size=size, max_grad_norm=1e9)
        logs.append(json.loads((out / "log.jsonl").read_text().splitlines()[0]))
    for log in logs:
        assert log["pairs"] == 16
        assert log["loss"] == pytest.approx(logs[0]["loss"], rel=1e-5)
        assert log["grad_norm"] == pytest.approx(logs[0]["grad_norm"], rel=1e-4)


class _Stopped(Exception):
    pass


def test_stopped_run_goes_on_to_the_same_bytes_and_the_seed_decides(run: Train) -> None:
    def stopping(done: int, *_: Any, **__: Any) -> None:
        if done == 5:
            raise _Stopped

    rows = _pairs(0, 64)
    whole = (run("whole", rows, save_every=2) / "model" / "model.safetensors").read_bytes()
    with pytest.raises(_Stopped):
        run("stopped", rows, stopping, save_every=2)
    steps: list[int] = []
    resumed = run("stopped", rows, lambda done, *_, **__: steps.append(done), save_every=2)
    assert steps[0] == 5
    assert (resumed / "model" / "model.safetensors").read_bytes() == whole
    assert (run("other", rows, seed=1) / "model" / "model.safetensors").read_bytes() != whole


def test_pairs_that_teach_nothing_are_counted(run: Train) -> None:
    odd = [
        {"id": 1, "prompt": "copy red", "chosen": "red", "rejected": " "},
        {"id": 2, "prompt": "copy red", "chosen": "red", "rejected": "red"},
        {"id": 3, "prompt": "copy red", "chosen": "red " * 99, "rejected": "cat"},
    ]
    out = run("odd", [*odd, *_pairs(0, 8)], max_length=64)
    summary = json.loads((out / "training.json").read_text())
    skipped = {"beyond max_length": 1, "empty response": 1, "equal responses": 1}
    assert summary == {"rows": 11, "trained_rows": 8, "skipped": skipped, "steps": 1}
    with pytest.raises(HarnessError, match=r"nothing to train on \(beyond max_length: 1, empty response: 1"):
        run("none", odd, max_length=64)


@pytest.mark.parametrize(
    "row",
    [
        {"id": 1, "prompt": "a", "chosen": "b"},
        {"id": 1, "chosen": "a", "rejected": "b"},
        ["a"],
        {"prompt": "a", "chosen": 1},
    ],
)
def test_rows_that_are_no_pairs_are_named(run: Train, row: Any) -> None:
    with pytest.raises(HarnessError, match="not a preference pair") as caught:
        run("broken", [_pairs(0, 9)[0], row])
    assert caught.value.where.endswith("pairs.jsonl:2")
