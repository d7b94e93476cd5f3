"""Stored tokens: the same however they were made, and refused for another model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import HarnessError
from harness.data.conversations import read_conversations
from harness.models import encoding
from harness.models.chat import encode
from harness.models.load import load_tokenizer
from harness.train import tokens
from harness.train.tokens import TokenFile, check_tokens, write_tokens
from tests.models.chatty import CHATML, HEADS, tokenizer


def made(data: Path, folder: Path, template: str = CHATML) -> TokenFile:
    folder.mkdir()
    write_tokens(data, tokenizer(template), 60, folder)
    return TokenFile.open(folder)


def files(stored: TokenFile) -> list[bytes]:
    return [(stored.folder / name).read_bytes() for name in ("ids.bin", "taught.bin", "rows.npy", "names.json")]


def test_tokens_are_those_of_each_conversation(conversations: Path, tmp_path: Path) -> None:
    stored = made(conversations, tmp_path / "t")
    assert stored.record["fast"]
    for row, chat in enumerate(read_conversations(conversations)):
        want = encode(tokenizer(CHATML), chat.messages, 60)
        if any(want.response_mask[1:]):
            ids, taught = stored.tokens(row)
            assert ids.tolist() == want.input_ids
            assert taught.tolist() == [False, *want.response_mask[1:]]
        else:
            assert stored.rows["reason"][row] > 0


def test_where_the_fast_way_differs_the_tokenizer_itself_encodes_all(
    conversations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = made(conversations, tmp_path / "right")
    placed = encoding.ByteTokens._placed

    def wrong(*given: Any) -> Any:
        found = placed(*given)
        assert found is not None
        ids, starts, ends = found
        return ids[::-1], starts, ends

    monkeypatch.setattr(encoding.ByteTokens, "_placed", wrong)
    stored = made(conversations, tmp_path / "wrong")
    assert not stored.record["fast"]
    assert files(stored) == files(right)


def test_several_processes_write_what_one_writes(
    conversations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = made(conversations, tmp_path / "one")
    monkeypatch.setattr(tokens, "_MANY", 0)
    monkeypatch.setattr(tokens, "_LINES", 5)
    monkeypatch.setattr(tokens, "cores", lambda: 2)
    assert files(made(conversations, tmp_path / "two")) == files(one)


def test_another_tokenizer_or_template_is_refused(conversations: Path, tmp_path: Path, pocket_folder: Path) -> None:
    stored = made(conversations, tmp_path / "t")
    check_tokens(stored, tokenizer(CHATML))
    with pytest.raises(HarnessError, match="made with another chat template than the model's"):
        check_tokens(stored, tokenizer(HEADS))
    with pytest.raises(HarnessError, match="made with another tokenizer than the model's"):
        check_tokens(stored, load_tokenizer(pocket_folder))


def test_a_dataset_without_conversations(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").touch()
    stored = made(tmp_path / "c.jsonl", tmp_path / "t")
    assert (stored.record["rows"], stored.record["tokens"], len(stored.rows)) == (0, 0, 0)
    assert np.array_equal(stored.ids, [])
