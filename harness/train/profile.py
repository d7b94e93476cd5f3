"""What a dataset holds, as a training reads it: counts, token lengths, near-duplicates and a few conversations in full.

One pass over the conversations and one over their tokens' records; memory does not grow with the texts.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.core.seeds import derive_seed
from harness.data.conversations import Conversation, read_conversations
from harness.data.duplicates import repeated, write_sketches
from harness.models.chat import Encoded, encode
from harness.train.tokens import TokenFile

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

EDGES = tuple(sorted({size << k for k in range(30) for size in (1, 3)} | {0, 2**62}))
"""A bin of a histogram holds lengths from one edge to below the next: 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, ..."""
_MOST_TURNS = 9
"""Conversations of so many turns or more are counted together."""
_EXAMPLES = 5
_PAIRS = 3
"""Near-duplicates that are named."""
_LONGEST = 2000
"""Characters of a piece of an example; of a longer one the middle is left out."""

Part = Literal["read", "taught", "cut"]


@dataclass(frozen=True)
class Spread:
    """How many tokens conversations have."""

    total: int
    median: float
    p95: float
    most: int
    bins: Mapping[int, int]
    """The lower edge of a bin (see EDGES) -> conversations; bins without any are left out."""


@dataclass(frozen=True)
class Piece:
    """A run of characters of a conversation as the chat template writes it."""

    part: Part
    """`read` and not learned, `taught`, or `cut` off behind max_length."""
    text: str
    left_out: int = 0
    """Characters that are left out behind `text`, before `rest`."""
    rest: str = ""


@dataclass(frozen=True)
class Shown:
    """A conversation as the model sees it."""

    id: str
    tokens: int
    taught: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Profile:
    """What a dataset holds, as a training reads it."""

    max_length: int
    rows: int
    used: int
    """Rows that are trained on; the spreads and `truncated` are of them."""
    left_out: Mapping[str, int]
    """Rows by reason."""
    truncated: int
    """Rows that lose tokens behind max_length."""
    turns: Mapping[int, int]
    """Turns of the assistant, at most 9 of which are counted -> rows."""
    prompt: Spread
    """Tokens that are read and not learned, the template's among them."""
    response: Spread
    """Tokens that are learned."""
    repeats: int
    """Rows that nearly repeat an earlier one (see `data.duplicates`)."""
    pairs: tuple[tuple[str, str], ...]
    """The ids of the first such rows, each with the earlier one's."""
    examples: tuple[Shown, ...]
    """Rows drawn at random."""


def profile(conversations: Path, tokens: Path, tokenizer: "PreTrainedTokenizerFast", work: Path) -> Profile:
    """The profile of a conversations file whose tokens are in the folder `tokens`; `work` holds what is on the way."""
    stored = TokenFile.open(tokens)
    rows, used = stored.rows, np.flatnonzero(stored.rows["reason"] == 0)
    turns, drawn, examples = Counter[int](), _drawn(used), dict[int, Shown]()

    def texts() -> Iterator[str]:
        for row, chat in enumerate(read_conversations(conversations)):
            turns[min(_MOST_TURNS, sum(m["role"] == "assistant" for m in chat.messages))] += 1
            if row in drawn:
                examples[row] = _shown(chat, tokenizer, stored, row)
            yield "\n".join(m["content"] for m in chat.messages if m["role"] != "system")

    earlier = repeated(write_sketches(texts(), work / "sketches.bin"))
    learned = rows["learned"][used]
    again = np.flatnonzero(earlier >= 0)
    names = stored.names() if len(again) else []
    reasons = Counter(rows["reason"][rows["reason"] > 0].tolist())
    return Profile(
        max_length=stored.record["max_length"],
        rows=len(rows),
        used=len(used),
        left_out={stored.record["reasons"][number - 1]: count for number, count in sorted(reasons.items())},
        truncated=int(rows["truncated"][used].sum()),
        turns=dict(sorted(turns.items())),
        prompt=spread(rows["length"][used] - learned),
        response=spread(learned),
        repeats=len(again),
        pairs=tuple((names[row], names[earlier[row]]) for row in again[:_PAIRS]),
        examples=tuple(examples[row] for row in sorted(examples)),
    )


def spread(lengths: NDArray[Any]) -> Spread:
    """The spread of conversations' tokens (conversations,); of no conversations zeros."""
    if not len(lengths):
        return Spread(0, 0, 0, 0, {})
    median, p95 = np.percentile(lengths, [50, 95]).tolist()
    counts = np.bincount(np.searchsorted(EDGES, lengths, side="right") - 1)
    bins = {EDGES[number]: count for number, count in enumerate(counts.tolist()) if count}
    return Spread(int(lengths.sum(dtype=np.int64)), median, p95, int(lengths.max()), bins)


def _drawn(used: NDArray[Any]) -> set[int]:
    """The rows that are shown."""
    places = Random(derive_seed(0, "shown")).sample(range(len(used)), min(_EXAMPLES, len(used)))
    return {int(used[place]) for place in places}


def _shown(chat: Conversation, tokenizer: "PreTrainedTokenizerFast", stored: TokenFile, row: int) -> Shown:
    encoded = encode(tokenizer, chat.messages, stored.record["max_length"])
    _, taught = stored.tokens(row)
    return Shown(chat.id, len(taught), int(taught.sum()), pieces(encoded, taught.tolist()))


def pieces(encoded: Encoded, taught: Sequence[bool]) -> tuple[Piece, ...]:
    """A conversation's text, cut where its tokens (of which `taught` are) begin and end to be taught.

    White space that a tokenizer leaves out of its offsets goes with the token behind it.
    """
    text = encoded.text
    parts: list[tuple[Part, int]] = []
    """Each piece's part and where it ends."""
    for (_, end), is_taught in zip(encoded.offsets, taught, strict=True):
        part: Part = "taught" if is_taught else "read"
        if parts and parts[-1][0] == part:
            parts.pop()
        parts.append((part, end))
    parts.append(("cut" if encoded.truncated else "read", len(text)))
    begins = [0, *(end for _, end in parts)]
    return tuple(
        _piece(part, text[begin:end]) for (part, end), begin in zip(parts, begins, strict=False) if begin < end
    )


def _piece(part: Part, text: str) -> Piece:
    left_out = max(0, len(text) - _LONGEST)
    half = _LONGEST // 2
    return Piece(part, text[:half], left_out, text[-half:]) if left_out else Piece(part, text)
