"""Rows as public data sets write them: what is read of each, and what of it is not."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.data.columns import changing, in_words, response_like
from harness.data.readers import Dataset, read_dataset
from harness.data.settings import DatasetSettings

U, A = {"role": "user", "content": "How many legs has an ant?"}, {"role": "assistant", "content": "Six."}
H, G = {"from": "human", "value": "How many legs has an ant?"}, {"from": "gpt", "value": "Six."}
SURE = {"role": "user", "content": "Sure?"}
NINE = {**A, "content": "Nine."}


def read(folder: Path, *rows: Any, **settings: Any) -> Dataset:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_dataset(DatasetSettings(path=path, **settings), 0)


def turns(*texts: str, system: str = "") -> list[dict[str, Any]]:
    """User and assistant in turn, after a system prompt."""
    said = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    return [{"role": "system", "content": system}, *said] if system else said


READ: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "alpaca": ({"instruction": "Add.", "input": "2, 3", "output": "5"}, turns("Add.\n\n2, 3", "5")),
    "magpie": (
        {"model": "m", "gen_input_configs": {"t": 1}, "instruction": "Add.", "response": "5"}
        | {"conversations": [{"from": "human", "value": "Add."}, {"from": "gpt", "value": "5"}]},
        turns("Add.", "5"),
    ),
    "instruction_response": ({"instruction": "Add.", "response": "5", "system_prompt_key": "x"}, turns("Add.", "5")),
    "dolly": (
        {"instruction": "Who won?", "context": "Ann beat Bob.", "response": "Ann.", "category": "closed_qa"},
        turns("Who won?\n\nAnn beat Bob.", "Ann."),
    ),
    "dolly_without_context": ({"instruction": "q", "context": "", "response": "a"}, turns("q", "a")),
    "prompt_completion": ({"prompt": "Sky is", "completion": " blue."}, turns("Sky is", " blue.")),
    "prompt_completion_turns": ({"prompt": [U], "completion": [A]}, [U, A]),
    "prompt_of_turns_completion": (
        {"prompt": [U, NINE, SURE], "completion": "Six."},
        [U, {**NINE, "train": False}, SURE, A],
    ),
    "openorca": (
        {"id": "f1", "system_prompt": "Be brief.", "question": "2+3?", "response": "5"},
        turns("2+3?", "5", system="Be brief."),
    ),
    "wildchat": ({"conversation_hash": "x", "conversation": [U, A]}, [U, A]),
    "lima": ({"conversations": ["2+3?", "5", "Sure?", "Yes."]}, turns("2+3?", "5", "Sure?", "Yes.")),
    "sharegpt_system": (
        {"conversations": [H, G], "system": "Answer in Latin.", "tools": ""},
        [{"role": "system", "content": "Answer in Latin."}, U, A],
    ),
    "history": (
        {"instruction": "And a spider?", "input": "", "output": "Eight.", "system": "Be brief."}
        | {"history": [["How many legs has an ant?", "Six."]]},
        turns("How many legs has an ant?", "Six.", "And a spider?", "Eight.", system="Be brief."),
    ),
    "history_of_turns": ({"prompt": "Sure?", "response": "Yes.", "history": [U, A]}, [U, A, *turns("Sure?", "Yes.")]),
    "openhermes": (
        {"id": "1", "conversations": [H, G], "system_prompt": "Answer in Latin."},
        [{"role": "system", "content": "Answer in Latin."}, U, A],
    ),
    "weight": (
        {"messages": [U, {**NINE, "weight": 0}, SURE, {**A, "weight": 1}]},
        [U, {**NINE, "train": False}, SURE, A],
    ),
    "train": (
        {"messages": [U, {**NINE, "train": False}, SURE, {**A, "train": True}]},
        [U, {**NINE, "train": False}, SURE, A],
    ),
    "loss": ({"messages": [U, {**NINE, "loss": False}, SURE, A]}, [U, {**NINE, "train": False}, SURE, A]),
    "mask": (
        {"messages": [U, {**NINE, "mask": True}, SURE, {**A, "mask": None}]},
        [U, {**NINE, "train": False}, SURE, A],
    ),
    "reasoning_content": ({"messages": [U, {**A, "reasoning_content": "Insects have six legs."}]}, [U, A]),
    "parts": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "2+"}, {"type": "text", "text": "3?"}]}]}
        | {"x": 1},
        turns("2+3?"),
    ),
    "developer": (
        {"messages": [{"role": "developer", "content": "s"}, U, A]},
        [{"role": "system", "content": "s"}, U, A],
    ),
    "bing": ({"conversations": [H, {"from": "bing", "value": "Six."}]}, [U, A]),
    "bard": ({"conversations": [H, {"from": "bard", "value": "Six."}]}, [U, A]),
    "chatgpt": (
        {"conversations": [{"from": "User", "value": U["content"]}, {"from": "chatgpt", "value": "Six."}]},
        [U, A],
    ),
    "gpt_first": ({"conversations": [G, H, G]}, [A, U, A]),
    "two_users": ({"messages": [U, U, A]}, [U, U, A]),
    "ultrafeedback": ({"prompt": U["content"], "chosen": [U, A], "rejected": [U, NINE], "messages": [U, A]}, [U, A]),
    "metamath": ({"query": "2+3?", "response": "5", "type": "x"}, turns("2+3?", "5")),
    "gsm8k": ({"question": "2+3?", "answer": "5 #### 5"}, turns("2+3?", "5 #### 5")),
    "json_text": ({"messages": json.dumps([U, A])}, [U, A]),
    "prompt_only": ({"prompt": "2+3?"}, turns("2+3?")),
}


@pytest.mark.parametrize("name", READ)
def test_public_schemas(tmp_path: Path, name: str) -> None:
    row, messages = READ[name]
    data = read(tmp_path, row, row)
    assert [c.messages for c in data.conversations] == [messages] * 2
    assert data.skipped == ()


@pytest.mark.parametrize(
    ("name", "used", "unused", "suspect"),
    [
        ("magpie", ["conversations"], ["gen_input_configs", "model"], []),
        ("dolly", ["context", "instruction", "response"], ["category"], []),
        ("history", ["history", "instruction", "output", "system"], [], []),
        ("sharegpt_system", ["conversations", "system"], [], []),
        ("reasoning_content", ["messages"], ["messages[].reasoning_content"], ["messages[].reasoning_content"]),
        ("ultrafeedback", ["messages"], ["rejected"], ["rejected"]),
        ("weight", ["messages"], [], []),
    ],
)
def test_columns_that_were_used_and_not(
    tmp_path: Path, name: str, used: list[str], unused: list[str], suspect: list[str]
) -> None:
    """A column that repeats what the conversation holds is not told."""
    data = read(tmp_path, READ[name][0])
    assert (list(data.columns.used), list(data.columns.unused)) == (used, unused)
    assert changing(data.columns.unused) == suspect


def test_what_may_change_an_example_is_told_with_its_rows(tmp_path: Path) -> None:
    rows = [{"messages": [U, A], "tools": "[{}]", "source": "s"}] * 3 + [{"messages": [U, A], "tools": "[]"}]
    told = in_words(read(tmp_path, *rows, {"messages": 3}).record)
    assert told == [
        "1 of 5 rows skipped: `messages` is a number, not a list of turns (row 5)",
        "`tools` is not used and may change the example (rows that have it: 4)",
    ]


def test_preference_pairs_are_no_prompts_without_a_word(tmp_path: Path) -> None:
    row = {"prompt": "2+3?", "chosen": "5", "rejected": "6"}
    data = read(tmp_path, row)
    assert data.conversations[0].messages == turns("2+3?")
    assert response_like(data.columns.unused) == ["chosen"]
    assert in_words(data.record)[0] == "no row has a response; `chosen` looks like one: `columns: {response: chosen}`"
    assert read(tmp_path, row, columns={"response": "chosen"}).conversations[0].messages == turns("2+3?", "5")


def test_texts_without_turns_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no known schema") as caught:
        read(tmp_path, {"text": "### Human: hi ### Assistant: hello"})
    assert "write it as messages" in caught.value.fix


def test_the_users_columns_go_before_the_usual_ones(tmp_path: Path) -> None:
    """And the column that stands for a usual one is told by its own name."""
    row = {"messages": [U, A], "question": "2+3?", "gold": "5", "answer": "five"}
    data = read(tmp_path, row, columns={"prompt": "question", "response": "gold"})
    assert data.conversations[0].messages == turns("2+3?", "5")
    assert list(data.columns.used) == ["gold", "question"]
    assert list(data.columns.unused) == ["answer", "messages"]


def test_a_system_turn_of_its_own_goes_before_the_column(tmp_path: Path) -> None:
    own = {"role": "system", "content": "own"}
    data = read(tmp_path, {"messages": [own, U, A], "system": "column"}, {"messages": [own, U, A], "system": "own"})
    assert [c.messages[0] for c in data.conversations] == [own] * 2
    assert data.columns.unused == {"system": 1}
