"""Profiles of datasets (`data.profile`), made of conversations and their stored tokens.

One pass over the conversations and one over their tokens' records; memory does not grow with the texts.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.core.pool import cores
from harness.core.seeds import derive_seed
from harness.data.conversations import Conversation, read_conversations
from harness.data.duplicates import repeated, write_sketches
from harness.data.profile import Part, Piece, Profile, Shown, spread
from harness.models.chat import Encoded, encode
from harness.train.tokens import TokenFile

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_MOST_TURNS = 9
"""Conversations of so many turns or more are counted together."""
_MANY = 64 << 20
"""From so many bytes on several processes look for near-duplicates: 64 MB take one about 3 seconds."""
_EXAMPLES = 5
_PAIRS = 3
"""Near-duplicates that are named."""
_LONGEST = 2000
"""Characters of a piece of an example; of a longer one the middle is left out."""


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

    processes = cores() if conversations.stat().st_size >= _MANY else 1
    earlier = repeated(write_sketches(texts(), work / "sketches.bin", processes))
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

    White space that a tokenizer leaves out of its offsets goes with what is read where a turn begins or ends.
    """
    text = encoded.text
    parts: list[tuple[Part, int]] = []
    """Each piece's part and where it ends."""
    for (start, end), is_taught in zip(encoded.offsets, taught, strict=True):
        part: Part = "taught" if is_taught else "read"
        before = parts.pop() if parts else None
        if before is not None and before[0] != part:
            parts.append(("read", start) if is_taught else before)
        parts.append((part, end))
    parts.append(("cut" if encoded.truncated else "read", len(text)))
    begins = [0, *(end for _, end in parts[:-1])]
    return tuple(_piece(part, text[begin:end]) for (part, end), begin in zip(parts, begins, strict=True) if begin < end)


def _piece(part: Part, text: str) -> Piece:
    left_out = max(0, len(text) - _LONGEST)
    half = _LONGEST // 2
    return Piece(part, text[:half], left_out, text[-half:]) if left_out else Piece(part, text)
