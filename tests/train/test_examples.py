from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.core.lines import write_lines
from harness.models.load import load_tokenizer
from harness.train.examples import Example, Examples, collate, encode_file, filler, hold_out
from harness.train.losses import IGNORED


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
    made = encode_file(file, tokenizer, 16)
    assert (made.rows, len(made.examples), made.truncated) == (4, 2, 1)
    assert made.skipped == {"no response": 1, "response beyond max_length": 1}
    labels = [label for e in made.examples for label in e["labels"] if label != IGNORED]
    assert made.response_tokens == len(labels)
    first = [label for label in made.examples[0]["labels"] if label != IGNORED]
    assert tokenizer.decode(first) == "blue <|im_end|>"
    with pytest.raises(HarnessError, match=r"nothing to train on.*no response: 1"):
        encode_file(_file(tmp_path, [("user", "red")]), tokenizer, 16)


def test_a_turn_that_is_only_read_is_not_learned(pocket_folder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(pocket_folder)
    turns = [("user", "red"), ("assistant", "blue"), ("user", "red"), ("assistant", "red")]
    messages: list[dict[str, str | bool]] = [{"role": role, "content": text} for role, text in turns]
    messages[1]["train"] = False
    write_lines(tmp_path / "c.jsonl", [{"id": "a", "messages": messages}])
    [example] = encode_file(tmp_path / "c.jsonl", tokenizer, 64).examples
    assert tokenizer.decode([label for label in example["labels"] if label != IGNORED]) == "red <|im_end|>"
    [whole] = encode_file(_file(tmp_path, turns), tokenizer, 64).examples
    assert example["input_ids"] == whole["input_ids"]


def test_padding_is_masked_and_not_trained_on() -> None:
    long: Example = {"input_ids": [5, 6, 7], "labels": [IGNORED, 6, 7], "row": 4, "domain": 1, "id": "a"}
    batch = collate([long, filler()])
    assert batch["input_ids"].tolist() == [[5, 6, 7], [0, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [IGNORED] * 3]
    assert (batch["row"].tolist(), batch["domain"].tolist()) == ([4, 0], [1, 0])


def test_rows_keep_their_number_and_domains_theirs(pocket_folder: Path, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "red"}, {"role": "assistant", "content": "blue red"}]
    rows = [
        {"id": "a", "messages": turns, "domain": "maths"},
        {"id": "b", "messages": turns[:1], "domain": None},
        {"id": "c", "messages": turns},
        {"id": "d", "messages": turns, "domain": "law"},
    ]
    write_lines(tmp_path / "mix.jsonl", rows)
    tokenizer = load_tokenizer(pocket_folder)
    made = encode_file(tmp_path / "mix.jsonl", tokenizer, 64, ["law", "maths"])
    assert [(e["row"], e["domain"]) for e in made.examples] == [(0, 2), (2, 0), (3, 1)]
    assert made.by_domain == {name: {"rows": 1, "response_tokens": 3} for name in ("general", "law", "maths")}
    assert encode_file(tmp_path / "mix.jsonl", tokenizer, 64).by_domain == {}
    with pytest.raises(HarnessError, match="unknown domain 'maths'; there are law"):
        encode_file(tmp_path / "mix.jsonl", tokenizer, 64, ["law"])


@pytest.fixture
def examples(pocket_folder: Path, conversations: Path) -> Examples:
    return encode_file(conversations, load_tokenizer(pocket_folder), 512)


def test_what_is_held_out_is_not_trained_on(examples: Examples) -> None:
    rest, held = hold_out(examples, 0.25, 3)
    assert (len(held), len(rest.examples)) == (12, 36)
    assert {e["id"] for e in held}.isdisjoint(e["id"] for e in rest.examples)
    again = Examples(examples.examples[::-1], 48, {}, 0)
    assert {e["id"] for e in hold_out(again, 0.25, 3)[1]} == {e["id"] for e in held}
    assert {e["id"] for e in hold_out(examples, 0.25, 4)[1]} != {e["id"] for e in held}


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_a_share_that_leaves_nothing_is_refused(examples: Examples, share: float) -> None:
    with pytest.raises(HarnessError, match="to hold out") as caught:
        hold_out(examples, share, 0)
    assert "held_out" in caught.value.fix
