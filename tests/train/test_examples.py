from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.core.lines import write_lines
from harness.models.load import load_tokenizer
from harness.train.examples import collate, encode_file
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


def test_padding_is_masked_and_not_trained_on() -> None:
    batch = collate([{"input_ids": [5, 6, 7], "labels": [IGNORED, 6, 7]}, {"input_ids": [8], "labels": [IGNORED]}])
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [IGNORED] * 3]
