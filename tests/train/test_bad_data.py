"""Bad data and broken models through a whole training: a clear error, or a count in training.json."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import harness.train.run
from harness.core.errors import HarnessError
from harness.core.lines import write_lines
from harness.models.load import load_model

Run = Callable[..., Path]
Turn = tuple[str, str]
GOOD: list[Turn] = [("user", "red"), ("assistant", "blue")]
ONE_STEP = {"batch_size": 2, "micro_batch_size": 2, "max_steps": 1}


def written(folder: Path, *conversations: list[Turn]) -> Path:
    rows = (
        {"id": str(i), "messages": [{"role": role, "content": text} for role, text in turns]}
        for i, turns in enumerate(conversations)
    )
    write_lines(folder / "conversations.jsonl", rows)
    return folder / "conversations.jsonl"


def trained(run: Run, data: Path, **settings: Any) -> dict[str, Any]:
    """What training.json says."""
    out = run(data=data, **{**ONE_STEP, **settings})
    summary: dict[str, Any] = json.loads((out / "training.json").read_text())
    return summary


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ([("user", "red"), ("assistant", "")], "empty response"),
        ([("user", "red"), ("assistant", " \n\t")], "empty response"),
        ([*GOOD, ("user", "and now"), ("assistant", "")], "empty response"),
        ([("system", "be short")], "no response"),
        ([("user", "red")], "no response"),
        ([], "no response"),
        ([("user", "red " * 600), ("assistant", "blue")], "response beyond max_length"),
    ],
)
def test_a_row_without_a_response_is_counted_and_the_rest_trained_on(
    run: Run, tmp_path: Path, bad: list[Turn], reason: str
) -> None:
    summary = trained(run, written(tmp_path, GOOD, bad, GOOD), max_length=512)
    assert (summary["rows"], summary["trained_rows"], summary["skipped"]) == (3, 2, {reason: 1})
    assert summary["truncated"] == 0
    assert summary["response_tokens"] == 4, "a word and the end of the turn, twice"


def test_every_row_is_trained_on_or_counted_once(run: Run, tmp_path: Path) -> None:
    """Rows of every fault at once."""
    cut = [("user", "red"), ("assistant", "blue " * 40)]
    beyond = [("user", "red " * 40), ("assistant", "blue")]
    rows = [GOOD, cut, beyond, [("user", "red")], [("user", "red"), ("assistant", " ")], beyond]
    summary = trained(run, written(tmp_path, *rows), max_length=24)
    assert summary["skipped"] == {"empty response": 1, "no response": 1, "response beyond max_length": 2}
    assert (summary["rows"], summary["trained_rows"], summary["truncated"]) == (6, 2, 1)


def test_a_conversation_whose_last_response_is_cut_away_is_trained_on_and_counted(run: Run, tmp_path: Path) -> None:
    turns = [*GOOD, ("user", "red " * 40), ("assistant", "blue " * 5)]
    summary = trained(run, written(tmp_path, turns, GOOD), max_length=24)
    assert (summary["trained_rows"], summary["truncated"], summary["skipped"]) == (2, 1, {})
    assert summary["response_tokens"] == 4, "the first response of each, its end of turn with it"


def test_a_response_cut_in_its_middle_loses_only_its_end(run: Run, tmp_path: Path) -> None:
    data = written(tmp_path, GOOD, [("user", "red"), ("assistant", "blue " * 10)])
    whole, cut = (trained(run, data, name=f"to-{length}", max_length=length) for length in (64, 12))
    assert (whole["truncated"], cut["truncated"]) == (0, 1)
    assert 2 < cut["response_tokens"] < whole["response_tokens"] == 2 + 11


@pytest.mark.parametrize(
    "long",
    [
        [("user", "red"), ("assistant", "blue " * 100_000)],
        [turn for _ in range(500) for turn in (("user", "red"), ("assistant", "blue " * 200))],
    ],
    ids=["one turn", "500 turns"],
)
def test_a_row_of_100_000_tokens_is_cut(run: Run, tmp_path: Path, long: list[Turn]) -> None:
    data = written(tmp_path, GOOD, long)
    summary = trained(run, data, max_length=256)
    assert (summary["trained_rows"], summary["truncated"]) == (2, 1)
    assert summary["response_tokens"] < 260


SHOW = "`harness data show RECIPE` names the columns that were read, and what looks like a response."


@pytest.mark.parametrize(
    ("rows", "reason", "fix"),
    [
        ([], "there are no conversations", ""),
        ([[("user", "red " * 40), ("assistant", "blue")]] * 3, "response beyond max_length: 3", "Raise `max_length`."),
        ([[("system", "be short")], [("user", "red"), ("assistant", "")]], "empty response: 1, no response: 1", SHOW),
    ],
)
def test_nothing_to_train_on_says_why(run: Run, tmp_path: Path, rows: list[list[Turn]], reason: str, fix: str) -> None:
    data = written(tmp_path, *rows)
    with pytest.raises(HarnessError, match=f"nothing to train on.*{reason}") as caught:
        run(data=data, max_length=24, **ONE_STEP)
    assert caught.value.fix == fix


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "red", "response": "blue"},
        {"conversations": [{"from": "human", "value": "red"}, {"from": "bing", "value": "blue"}]},
        {"id": "x", "messages": [{"role": "user", "content": "red"}, {"role": "tool", "content": "42"}]},
        {"id": "x", "messages": [{"role": "user", "content": "red"}, {"role": "assistant", "content": None}]},
    ],
)
def test_a_line_in_another_schema_is_told_by_its_number(run: Run, tmp_path: Path, record: dict[str, Any]) -> None:
    data = written(tmp_path, GOOD)
    with data.open("a") as file:
        file.write(json.dumps(record) + "\n")
    with pytest.raises(HarnessError, match="not a conversation") as caught:
        run(data=data, **ONE_STEP)
    assert caught.value.where == f"{data}:2"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("role", ["student", "teacher"])
def test_weights_that_are_no_numbers_are_told_before_a_step(
    run: Run, pocket_folder: Path, teacher_folder: Path, tmp_path: Path, role: str, value: float
) -> None:
    whole = pocket_folder if role == "student" else teacher_folder
    broken = Path(shutil.copytree(whole, tmp_path / "broken"))
    weights = load_file(broken / "model.safetensors")
    name = sorted(weights)[-1]
    weights[name].view(-1)[-1] = value
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    steps: list[int] = []
    with pytest.raises(HarnessError, match="NaN or infinite values") as caught:
        run(kd={}, progress=lambda done, *_, **__: steps.append(done), **{role: broken}, **ONE_STEP)
    assert name in caught.value.what
    assert caught.value.where == str(broken)
    assert steps == []


def test_different_tokenizers_are_told_before_any_weights_are_loaded(
    run: Run, pocket_folder: Path, teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path(shutil.copytree(teacher_folder, tmp_path / "other"))
    vocabulary = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(vocabulary.replace('"blue"', '"azure"'))
    loaded: list[Path] = []

    def noting(folder: Path, *more: Any) -> Any:
        loaded.append(folder)
        return load_model(folder, *more)

    monkeypatch.setattr(harness.train.run, "load_model", noting)
    with pytest.raises(HarnessError, match="different tokenizers") as caught:
        run(kd={}, teacher=other, **ONE_STEP)
    assert loaded == []
    assert str(pocket_folder) in caught.value.what
    assert str(other) in caught.value.what
    assert "sft: {data: teacher}" in caught.value.fix
    run(kd={}, **ONE_STEP)
    assert set(loaded) == {pocket_folder, teacher_folder}, "it would have been noted"


def test_a_failed_training_leaves_no_model(run: Run, tmp_path: Path) -> None:
    with pytest.raises(HarnessError):
        run(data=written(tmp_path), **ONE_STEP)
    assert list((tmp_path / "run").iterdir()) == []
