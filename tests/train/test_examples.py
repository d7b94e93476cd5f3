from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.core.errors import HarnessError
from harness.core.lines import write_lines
from harness.models.load import load_tokenizer
from harness.train.examples import Example, Examples, collate, filler, hold_out
from harness.train.losses import IGNORED
from tests.train.stored import stored


def _file(folder: Path, *conversations: list[tuple[str, str]]) -> Path:
    rows = [
        {"id": str(i), "messages": [{"role": r, "content": c} for r, c in turns]}
        for i, turns in enumerate(conversations)
    ]
    write_lines(folder / "c.jsonl", rows)
    return folder / "c.jsonl"


def test_counts_say_what_was_left_out(pocket_folder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(pocket_folder)
    file = _file(
        tmp_path,
        [("user", "red"), ("assistant", "blue")],
        [("user", "red"), ("assistant", "blue " * 50)],
        [("user", "red " * 50), ("assistant", "blue")],
        [("user", "red")],
    )
    made = stored(file, pocket_folder, tmp_path / "tokens", 16).examples
    assert (made.rows, len(made), made.truncated) == (4, 2, 1)
    assert made.skipped == {"no response": 1, "response beyond max_length": 1}
    labels = [label for e in made for label in e["labels"] if label != IGNORED]
    assert made.response_tokens == len(labels)
    first = [label for label in made[0]["labels"] if label != IGNORED]
    assert tokenizer.decode(first) == "blue <|im_end|>"
    with pytest.raises(HarnessError, match=r"nothing to train on.*no response: 1"):
        _ = stored(_file(tmp_path, [("user", "red")]), pocket_folder, tmp_path / "none", 16).examples


def test_a_turn_that_is_only_read_is_not_learned(pocket_folder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(pocket_folder)
    turns = [("user", "red"), ("assistant", "blue"), ("user", "red"), ("assistant", "red")]
    messages: list[dict[str, str | bool]] = [{"role": role, "content": text} for role, text in turns]
    messages[1]["train"] = False
    write_lines(tmp_path / "c.jsonl", [{"id": "a", "messages": messages}])
    [example] = stored(tmp_path / "c.jsonl", pocket_folder, tmp_path / "tokens").examples
    assert tokenizer.decode([label for label in example["labels"] if label != IGNORED]) == "red <|im_end|>"
    [whole] = stored(_file(tmp_path, turns), pocket_folder, tmp_path / "whole").examples
    assert example["input_ids"].tolist() == whole["input_ids"].tolist()


def test_padding_is_masked_and_not_trained_on() -> None:
    ids, labels = np.array([5, 6, 7]), np.array([IGNORED, 6, 7])
    long: Example = {"input_ids": ids, "labels": labels, "row": 4, "domain": 1, "sampled": True}
    batch = collate([long, filler()])
    assert batch["input_ids"].tolist() == [[5, 6, 7], [0, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [IGNORED] * 3]
    assert (batch["row"].tolist(), batch["domain"].tolist()) == ([4, 0], [1, 0])
    assert batch["sampled"].tolist() == [True, False]


def test_rows_keep_their_number_and_domains_theirs(pocket_folder: Path, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "red"}, {"role": "assistant", "content": "blue red"}]
    rows = [
        {"id": "a", "messages": turns, "domain": "maths"},
        {"id": "b", "messages": turns[:1], "domain": None},
        {"id": "c", "messages": turns},
        {"id": "d", "messages": turns, "domain": "law"},
    ]
    write_lines(tmp_path / "mix.jsonl", rows)
    made = stored(tmp_path / "mix.jsonl", pocket_folder, tmp_path / "tokens", domains=["law", "maths"]).examples
    assert [(e["row"], e["domain"]) for e in made] == [(0, 2), (2, 0), (3, 1)]
    assert made.by_domain == {name: {"rows": 1, "response_tokens": 3} for name in ("general", "law", "maths")}
    assert made.names([0, 2, 3]) == ["maths/a", "train/c", "law/d"]
    assert stored(tmp_path / "mix.jsonl", pocket_folder, tmp_path / "one").examples.by_domain == {}


@pytest.fixture
def examples(pocket_folder: Path, conversations: Path, tmp_path: Path) -> Examples:
    return stored(conversations, pocket_folder, tmp_path / "tokens").examples


def named(examples: Examples) -> set[str]:
    return set(examples.names(examples.chosen))


def test_what_is_held_out_is_not_trained_on(examples: Examples) -> None:
    rest, held = hold_out(examples, 0.25, 3)
    assert (len(held), len(rest)) == (12, 36)
    assert named(held).isdisjoint(named(rest))
    again = replace(examples, chosen=examples.chosen[::-1])
    assert named(hold_out(again, 0.25, 3)[1]) == named(held)
    assert named(hold_out(examples, 0.25, 4)[1]) != named(held)


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_a_share_that_leaves_nothing_is_refused(examples: Examples, share: float) -> None:
    with pytest.raises(HarnessError, match="to hold out") as caught:
        hold_out(examples, share, 0)
    assert "held_out" in caught.value.fix
