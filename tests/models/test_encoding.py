"""Encoding in batches: the very tokens and masks of conversations that are encoded one by one."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models import encoding
from harness.models.chat import encode
from harness.models.encoding import Differs, Encoder, Tokens
from harness.models.rendering import Messages, Refused
from tests.models.chatty import (
    CHATML,
    DATED,
    DROPS,
    ENDLESS,
    HEADS,
    LAST,
    MARKED,
    SPECIAL,
    TRIMS,
    WORDS,
    thinks,
)

TEMPLATES = [CHATML, TRIMS, HEADS, thinks(), thinks("{{ '<think>\\n' }}"), DROPS, LAST, MARKED, DATED, ENDLESS, WORDS]
SPLIT = (  # how Llama 3 and Qwen take texts apart
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LEARNED_FROM = [
    "What is the capital of France?  The capital of France is Paris.\n\n",
    "<think>\nadd the two numbers\n</think>\n\nIt is 4, as you'd think.\n",
    "naïve café façade — “quoted”, 北京市 and Москва 🙂🙂 e\u0301\n\n\n",
]


@cache
def tokenizer(scheme: str) -> Any:
    """A tokenizer that has learned merges, of one of the public schemes."""
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.decoder = decoders.ByteLevel()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if scheme == "split":
        pattern = pre_tokenizers.Split(Regex(SPLIT), "isolated")
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [pattern, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
    if scheme == "trims":
        made.post_processor = processors.ByteLevel(trim_offsets=True)
    if scheme == "nfc":
        made.normalizer = normalizers.NFC()
    if scheme == "words":
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        made.decoder = decoders.Metaspace()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(LEARNED_FROM * 3, trainer)
    made.add_special_tokens([AddedToken(text, normalized=False) for text in ("<bos>", "<eos>")])
    greedy = {"lstrip": True, "rstrip": True} if scheme == "greedy" else {}
    made.add_tokens([AddedToken(text, special=True, normalized=False, **greedy) for text in SPECIAL])
    made.add_tokens([AddedToken("  ", normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<bos>", eos_token="<eos>")


def templated(scheme: str, template: str) -> Any:
    made = tokenizer(scheme)
    made.chat_template = template
    return made


pieces = st.sampled_from(
    [*LEARNED_FROM, "\n", " ", "  ", "\t", "'s", "4", "1234", "é", "e\u0301", "🙂", "\u200f", "a\u0000b", "<|im_end|>"]
)
texts = st.lists(pieces | st.text(max_size=8), min_size=1, max_size=5).map("".join)


@st.composite
def conversations(draw: Any) -> Messages:
    """A system turn or none, one to three rounds, some answers only read."""
    turns: list[dict[str, Any]] = [{"role": "system", "content": draw(texts)}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        turns.append({"role": "user", "content": draw(texts)})
        answer = {"role": "assistant", "content": draw(texts)}
        turns.append(answer if draw(st.booleans()) else answer | {"train": draw(st.booleans())})
    return turns


def one_by_one(made: Any, chats: list[Messages], max_length: int) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for chat in chats:
        try:
            one = encode(made, chat, max_length)
        except Refused as error:
            found.append((error.what,))
        else:
            found.append((one.input_ids, one.response_mask, one.truncated))
    return found


def plain(made: list[Tokens | Refused]) -> list[tuple[Any, ...]]:
    return [
        (one.what,) if isinstance(one, Refused) else (one.ids.tolist(), one.taught.tolist(), one.truncated)
        for one in made
    ]


@pytest.mark.parametrize("scheme", ["bytes", "split", "trims", "nfc", "greedy", "words"])
@settings(max_examples=60, deadline=None)
@given(
    template=st.sampled_from(TEMPLATES),
    chats=st.lists(conversations(), min_size=1, max_size=4),
    max_length=st.sampled_from([1, 9, 40, 10_000]),
)
def test_tokens_and_masks_are_those_of_each_alone(
    scheme: str, template: str, chats: list[Messages], max_length: int
) -> None:
    made = templated(scheme, template)
    want = one_by_one(made, chats, max_length)
    encoder = Encoder(made, max_length)
    assert encoder.fast == (scheme not in ("words", "greedy"))
    assert plain(encoder(chats)) == want
    assert plain(Encoder(made, max_length, fast=False)(chats)) == want


@pytest.mark.parametrize(
    "wrong",
    [
        lambda ids, starts, ends: (ids[::-1], starts, ends),
        lambda ids, starts, ends: (ids, starts + 3, ends + 3),
    ],
)
def test_a_difference_is_found(monkeypatch: pytest.MonkeyPatch, wrong: Callable[..., Any]) -> None:
    made = templated("bytes", CHATML)
    encoder, chats = Encoder(made, 99), [[{"role": r, "content": "It is 4."} for r in ("user", "assistant")]]
    right = encoding.ByteTokens._placed

    def changed(*given: Any) -> Any:
        placed = right(*given)
        assert placed is not None
        return wrong(*placed)

    monkeypatch.setattr(encoding.ByteTokens, "_placed", changed)
    with pytest.raises(Differs):
        encoder(chats)


def test_one_in_so_many_is_encoded_by_the_tokenizer_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    made = templated("bytes", CHATML)
    encoder, seen = Encoder(made, 99), list[Any]()
    slow = Encoder._slow

    def counted(self: Encoder, given: Any) -> Any:
        seen.extend(given)
        return slow(self, given)

    monkeypatch.setattr(Encoder, "_slow", counted)
    chats = [[{"role": r, "content": f"It is {n}."} for r in ("user", "assistant")] for n in range(130)]
    assert len(encoder(chats)) == 130
    assert len(seen) == 3


def test_what_fastokens_does_not_know_is_encoded_by_the_tokenizer_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    import fastokens

    class Unknown:
        @staticmethod
        def from_json_str(text: str) -> None:
            raise ValueError("unknown pre-tokenizer")

    monkeypatch.setattr(fastokens, "Tokenizer", Unknown)
    assert not Encoder(templated("bytes", CHATML), 99).fast


def test_settings_to_pad_and_cut_change_nothing() -> None:
    made = templated("bytes", CHATML)
    chats: list[Messages] = [[{"role": r, "content": t} for r in ("user", "assistant")] for t in ("a", "It is 4.")]
    want = plain(Encoder(made, 99, fast=False)(chats))
    made.backend_tokenizer.enable_padding(length=64)
    made.backend_tokenizer.enable_truncation(5)
    assert plain(Encoder(made, 99, fast=False)(chats)) == want
    assert plain(Encoder(made, 99)(chats)) == want
    assert np.all([len(one[0]) != 64 for one in want])
