"""Conversations to tokens in batches: what `chat.encode` gives one by one, at many times its speed.

Nearly all of its time goes into the tokenizer and into a Python object for each token's offsets. For byte-level
vocabularies (GPT-2's scheme: Llama 3, Qwen, SmolLM2, DeepSeek) both can be left out: `fastokens` makes the same ids,
and where a token stands follows from the number of bytes that each token writes. Every `CHECKED`-th conversation is
encoded by the tokenizer itself too; where anything differs, the tokenizer itself encodes all of them.
"""

import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.models.chat import taught, within
from harness.models.rendering import Messages, Refused
from harness.models.turns import Span, turns_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CHECKED = 64
"""Of so many conversations that are encoded fast, one is encoded by the tokenizer itself too."""
_SPACE = "\u0120"
"""How byte-level vocabularies write a space."""


_Placed = tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]
"""A text's ids, and each token's start and end in the text."""


class Differs(Exception):
    """The fast way encodes a conversation otherwise than the tokenizer itself."""


@dataclass(frozen=True)
class Tokens:
    """A conversation as tokens, at most `max_length`."""

    ids: NDArray[np.uint32]
    taught: NDArray[np.bool_]
    """`Encoded.response_mask`."""
    truncated: bool


@dataclass(frozen=True)
class _Text:
    """A conversation as its template writes it, and the spans of characters that are learned."""

    text: str
    spans: Sequence[Span]


class Encoder:
    """Encodes batches of conversations for one tokenizer and `max_length`."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", max_length: int, *, fast: bool = True) -> None:
        tokenizer("")  # sets the library's tokenizer to neither pad nor cut
        self._tokenizer, self._max_length = tokenizer, max_length
        self._bytes = ByteTokens.of(tokenizer) if fast else None

    @property
    def fast(self) -> bool:
        """Whether `fastokens` makes the tokens."""
        return self._bytes is not None

    def __call__(self, conversations: Sequence[Messages]) -> list[Tokens | Refused]:
        """The tokens of each conversation, or why the chat template refuses it.

        Raises:
            Differs: `fastokens` is not to be trusted with this tokenizer.
        """
        written: list[_Text | Refused] = [self._written(messages) for messages in conversations]
        texts = [one for one in written if isinstance(one, _Text)]
        encoded = self._fast(self._bytes, texts) if self._bytes is not None else self._slow(texts)
        return [one if isinstance(one, Refused) else next(encoded) for one in written]

    def _written(self, messages: Messages) -> _Text | Refused:
        try:
            text, turns = turns_of(self._tokenizer, messages)
        except Refused as error:
            return error
        return _Text(text, taught(messages, turns))

    def _slow(self, texts: Sequence[_Text]) -> Iterator[Tokens]:
        encodings = self._tokenizer.backend_tokenizer.encode_batch([t.text for t in texts], add_special_tokens=False)
        for one, encoding in zip(texts, encodings, strict=True):
            starts, ends = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2).T
            yield self._cut((np.array(encoding.ids, dtype=np.uint32), starts, ends), one.spans)

    def _fast(self, tokens: "ByteTokens", texts: Sequence[_Text]) -> Iterator[Tokens]:
        for number, (one, made) in enumerate(zip(texts, tokens.encode([t.text for t in texts]), strict=True)):
            if made is None:
                yield next(self._slow([one]))
                continue
            fast = self._cut(made, [_in_bytes(one.text, span) for span in one.spans])
            if number % CHECKED == 0:
                slow = next(self._slow([one]))
                if not (np.array_equal(fast.ids, slow.ids) and np.array_equal(fast.taught, slow.taught)):
                    raise Differs
            yield fast

    def _cut(self, placed: _Placed, spans: Sequence[Span]) -> Tokens:
        (ids, starts, ends), limit = placed, self._max_length
        return Tokens(ids[:limit], within(starts[:limit], ends[:limit], spans), len(ids) > limit)


def _in_bytes(text: str, span: Span) -> Span:
    """A span of characters as one of bytes in UTF-8."""
    if text.isascii():
        return span
    begin = len(text[: span[0]].encode())
    return begin, begin + len(text[span[0] : span[1]].encode())


class ByteTokens:
    """A byte-level vocabulary with `fastokens`, and the bytes of text that each token stands for."""

    def __init__(self, tokenizer: Any, lengths: NDArray[np.int64], spaces: NDArray[np.int64], is_nfc: bool) -> None:
        self._tokenizer, self._lengths, self._spaces, self._is_nfc = tokenizer, lengths, spaces, is_nfc

    @classmethod
    def of(cls, tokenizer: "PreTrainedTokenizerFast") -> "ByteTokens | None":
        """None where the tokenizer is of another scheme, or `fastokens` does not know it."""
        from fastokens import Tokenizer

        written, added = tokenizer.backend_tokenizer.to_str(), tokenizer.added_tokens_decoder.values()
        scheme = json.loads(written)
        trims = [part.get("trim_offsets", True) for part in _parts(scheme["post_processor"], "ByteLevel")]
        writes = [part.get("add_prefix_space", True) for part in _parts(scheme["pre_tokenizer"], "ByteLevel")]
        normalizer = (scheme["normalizer"] or {}).get("type")
        greedy = any(token.lstrip or token.rstrip or token.single_word for token in added)
        if scheme["model"]["type"] != "BPE" or writes != [False] or normalizer not in (None, "NFC") or greedy:
            return None
        try:
            fast = Tokenizer.from_json_str(written)
        except Exception:  # it refuses what it does not know, each in its own way; the tokenizer itself encodes then
            return None
        vocabulary, contents = tokenizer.get_vocab(), {token.content for token in added}
        size = max(vocabulary.values()) + 1
        lengths, spaces = np.zeros(size, dtype=np.int64), np.zeros((size, 2), dtype=np.int64)
        for token, number in vocabulary.items():
            lengths[number] = len(token.encode()) if token in contents else len(token)
            if any(trims):
                spaces[number] = _spaces(token)
        return cls(fast, lengths, spaces, normalizer == "NFC")

    def encode(self, texts: Sequence[str]) -> Iterator[_Placed | None]:
        """Ids, and each token's start and end in bytes of the text; None where these cannot be told."""
        flat, bounds = self._tokenizer.encode_batch_flat(list(texts))
        ids, at = np.frombuffer(flat, dtype="<u4"), np.frombuffer(bounds, dtype="<u8").astype(np.int64)
        for text, begin, end in zip(texts, at, at[1:], strict=False):
            yield self._placed(text, ids[begin:end])

    def _placed(self, text: str, ids: NDArray[np.uint32]) -> _Placed | None:
        lengths = self._lengths[ids]
        ends = np.cumsum(lengths)
        size = len(text) if text.isascii() else len(text.encode())
        if (ends[-1] if len(ends) else 0) != size:  # an added token took white space beside it
            return None
        if self._is_nfc and not unicodedata.is_normalized("NFC", text):
            return None
        before, after = self._spaces[ids].T
        starts = np.minimum(ends - lengths + before, ends)
        return ids, starts, np.maximum(ends - after, starts)


def _parts(part: Any, kind: str) -> list[dict[str, Any]]:
    """The parts of a kind in a pre-tokenizer's or post-processor's JSON."""
    if not part:
        return []
    if part["type"] == "Sequence":
        inner = part.get("pretokenizers") or part.get("processors") or []
        return [found for one in inner for found in _parts(one, kind)]
    return [part] if part["type"] == kind else []


def _spaces(token: str) -> tuple[int, int]:
    """The spaces at a token's start and end, which a post-processor that trims leaves out of its offsets."""

    def count(text: str) -> int:
        return next((n for n, c in enumerate(text) if c != _SPACE and not c.isspace()), len(text))

    return count(token), count(token[::-1])
