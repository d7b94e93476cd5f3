"""What a profile says of a dataset, against the dataset itself."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from harness.core.lines import write_lines
from harness.data.conversations import Conversation
from harness.data.profile import EDGES, Piece, Profile, spread
from harness.models.chat import encode
from harness.models.load import load_tokenizer
from harness.record.run import typed
from harness.train.profile import pieces, profile
from harness.train.tokens import TokenFile, write_tokens
from tests.models.chatty import CHATML, TRIMS, tokenizer

Turn = tuple[str, str]
CHAT = [("user", "Hi"), ("assistant", " Yes?"), ("user", "2+3"), ("assistant", "5")]


def marked(chat: list[Turn], template: str = CHATML, length: int = 200, *, train: bool = True) -> list[tuple[str, str]]:
    """(part, text) of the pieces of a conversation; without `train` its first answer is read and not learned."""
    messages: list[dict[str, str | bool]] = [{"role": role, "content": text} for role, text in chat]
    messages[1]["train"] = train
    encoded = encode(tokenizer(template), messages, length)
    return [(p.part, p.text) for p in pieces(encoded, [False, *encoded.response_mask[1:]])]


def test_the_answers_of_every_turn_are_marked_with_the_token_that_ends_them() -> None:
    assert marked(CHAT) == [
        ("read", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"),
        ("taught", " Yes?<|im_end|>"),
        ("read", "\n<|im_start|>user\n2+3<|im_end|>\n<|im_start|>assistant\n"),
        ("taught", "5<|im_end|>"),
        ("read", "\n"),
    ]


def test_a_template_that_trims_shows_what_the_model_sees() -> None:
    assert [text for part, text in marked(CHAT, TRIMS) if part == "taught"] == ["Yes?<|over|>", "5<|over|>"]


def test_an_answer_that_is_only_read_is_not_marked() -> None:
    assert [text for part, text in marked(CHAT, train=False) if part == "taught"] == ["5<|im_end|>"]


@pytest.mark.parametrize("length", range(1, 40))
def test_what_is_cut_off_stands_behind_the_last_token(length: int) -> None:
    """Whatever the length, the pieces are the whole text, and only tokens before the cut are marked."""
    found, whole = marked(CHAT, length=length), marked(CHAT)
    text = "".join(text for _, text in whole)
    assert "".join(text for _, text in found) == text
    size = len(encode(tokenizer(CHATML), [{"role": r, "content": c} for r, c in CHAT], 200).input_ids)
    assert (found[-1][0] == "cut") == (length < size)
    taught = "".join(text for part, text in whole if part == "taught")
    assert taught.startswith("".join(text for part, text in found if part == "taught"))


def test_a_long_piece_loses_its_middle() -> None:
    encoded = encode(tokenizer(CHATML), [{"role": "user", "content": "x" * 5_000 + "END"}], 10_000)
    [piece] = pieces(encoded, [False] * len(encoded.input_ids))
    assert (len(piece.text), piece.left_out, len(piece.rest)) == (1_000, len(encoded.text) - 2_000, 1_000)
    assert piece.rest.endswith("END<|im_end|>\n")


@pytest.fixture
def made(pocket_folder: Path, tmp_path: Path) -> Profile:
    """Of six rows: one of two turns, one cut, two left out, one that repeats the first."""
    again = [("user", "red"), ("assistant", "red")]
    chats: list[list[Turn]] = [
        [("system", "Be brief."), ("user", "red " * 5), ("assistant", "blue " * 3), *again],
        [("user", "one two"), ("assistant", "blue " * 50)],
        [("user", "red " * 50), ("assistant", "blue")],
        [("user", "green")],
        [("system", "Be long."), ("user", "Red " * 5), ("assistant", "blue " * 3), *again],
        [("user", "three"), ("assistant", "seven")],
    ]
    rows = [Conversation(f"r{k}", [{"role": r, "content": c} for r, c in chat]) for k, chat in enumerate(chats)]
    write_lines(tmp_path / "c.jsonl", (vars(row) for row in rows))
    out = tmp_path / "tokens"
    out.mkdir()
    write_tokens(tmp_path / "c.jsonl", load_tokenizer(pocket_folder), 32, out)
    return profile(tmp_path / "c.jsonl", out, load_tokenizer(pocket_folder), tmp_path)


def test_counts_are_those_of_the_rows(made: Profile, tmp_path: Path) -> None:
    assert (made.rows, made.used, made.truncated, made.max_length) == (6, 4, 1, 32)
    assert made.left_out == {"response beyond max_length": 1, "no response": 1}
    assert made.turns == {0: 1, 1: 3, 2: 2}
    assert (made.repeats, made.pairs) == (1, (("r4", "r0"),))
    stored = TokenFile.open(tmp_path / "tokens")
    assert made.response.total == stored.record["learned"]
    assert made.prompt.total + made.response.total == stored.record["tokens"]


def test_examples_are_of_the_rows_that_are_trained_on(made: Profile) -> None:
    assert [shown.id for shown in made.examples] == ["r0", "r1", "r4", "r5"]
    for shown in made.examples:
        assert 0 < shown.taught < shown.tokens
        assert any(piece.part == "taught" for piece in shown.pieces)
    assert made.examples[1].pieces[-1].part == "cut"


def test_a_profile_comes_back_from_json(made: Profile) -> None:
    assert typed(Profile, asdict(made), "here") == made


def test_bins_hold_the_lengths_from_their_edge_to_below_the_next() -> None:
    lengths = [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 1023, 1024]
    assert spread(np.array(lengths)).bins == {0: 1, 1: 1, 2: 1, 3: 1, 4: 2, 6: 2, 8: 2, 12: 1, 768: 1, 1024: 1}
    assert EDGES[:8] == (0, 1, 2, 3, 4, 6, 8, 12)
    found = spread(np.array(lengths))
    assert (found.total, found.most, found.median) == (sum(lengths), 1024, 6)
    assert spread(np.array([])).bins == {}


def test_pieces_of_no_tokens_are_the_text_that_is_cut() -> None:
    encoded = encode(tokenizer(CHATML), [{"role": "user", "content": "x"}], 0)
    assert pieces(encoded, []) == (Piece("cut", encoded.text),)
