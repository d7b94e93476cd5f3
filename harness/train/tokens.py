"""A dataset as tokens: written once by the `encode` stage, and memory-mapped by every training and pass that reads it.

ids.bin        uint16 (uint32 for a vocabulary beyond 65,536): the tokens of all conversations, one after the other
taught.bin     a byte for each token: 1 where it is learned (`chat.Encoded.response_mask`)
rows.npy       a record for each conversation of the dataset, in its order (`ROW`)
tokens.json    counts, the reasons that rows name, the vocabulary's and the template's digest
names.json     the conversations' ids, in the same order
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.core.canonical import Json, digest
from harness.core.errors import HarnessError
from harness.core.lines import parsed_line, write_json
from harness.core.pool import cores, mapped
from harness.data.conversations import Conversation, conversation
from harness.models.chat import template_digest
from harness.models.encoding import Differs, Encoder, Tokens
from harness.models.rendering import Refused

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ROW = np.dtype([("offset", "<i8"), ("length", "<i4"), ("learned", "<i4"), ("reason", "<i4"), ("truncated", "?")])
"""A conversation's tokens are [offset, offset + length) of the arrays; `learned` of them can be predicted and are
taught. `reason` is 0, or the number from 1 of the reason why it is left out; then it has no tokens."""
_LINES, _BYTES = 512, 4 << 20
"""A batch that a process encodes at once has at most so many conversations, and ends after so many bytes."""
_MANY = 32 << 20
"""From so many bytes on several processes encode a file: to start one takes as long as encoding 10 MB."""
EMPTY, NONE, BEYOND = "empty response", "no response", "response beyond max_length"
"""Reasons for which a conversation is left out, beside a chat template's refusals."""


@dataclass(frozen=True)
class TokenFile:
    """A folder that `write_tokens` filled, memory-mapped."""

    folder: Path
    ids: NDArray[Any]
    taught: NDArray[np.uint8]
    rows: NDArray[Any]
    """(conversations,) of `ROW`."""
    record: dict[str, Json]

    @classmethod
    def open(cls, folder: Path) -> "TokenFile":
        """Map the files; nothing is read before it is used."""
        record = json.loads((folder / "tokens.json").read_text())
        rows = np.load(folder / "rows.npy", mmap_mode="r")
        if not record["tokens"]:  # an empty file cannot be mapped
            return cls(folder, np.empty(0, record["dtype"]), np.empty(0, np.uint8), rows, record)
        ids = np.memmap(folder / "ids.bin", record["dtype"], "r")
        return cls(folder, ids, np.memmap(folder / "taught.bin", np.uint8, "r"), rows, record)

    def tokens(self, row: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The ids of a conversation, and which of them are taught; the first is not, since no token predicts it."""
        offset, length = int(self.rows["offset"][row]), int(self.rows["length"][row])
        taught = self.taught[offset : offset + length].astype(bool)
        taught[:1] = False
        return self.ids[offset : offset + length].astype(np.int64), taught

    def names(self) -> list[str]:
        """The ids of the conversations."""
        names: list[str] = json.loads((self.folder / "names.json").read_text())
        return names


CONVENTIONS = ("tokenizer", "chat_template")
"""The digests in `tokens.json` that two models must share for positions and tokens to mean the same."""


def conventions(tokenizer: "PreTrainedTokenizerFast") -> dict[str, str]:
    """The values of CONVENTIONS for a tokenizer."""
    return {"tokenizer": digest(sorted(tokenizer.get_vocab().items())), "chat_template": template_digest(tokenizer)}


def check_tokens(tokens: TokenFile, tokenizer: "PreTrainedTokenizerFast") -> None:
    """HarnessError unless stored tokens are those of a tokenizer and its chat template."""
    for name, value in conventions(tokenizer).items():
        if tokens.record[name] != value:
            what = f"the tokens were made with another {name.replace('_', ' ')} than the model's"
            raise HarnessError(what, where=str(tokenizer.name_or_path))


def write_tokens(
    conversations: Path,
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    out: Path,
    progress: Any = lambda *_: None,
) -> dict[str, Json]:
    """Encode a conversations file by a tokenizer and its chat template into `out`; returns `tokens.json`.

    A conversation is left out, with its reason, that has an empty answer (which would teach to end at once) or none,
    that has no answer within `max_length` tokens, or that the template refuses.

    Raises:
        HarnessError: a line that is no conversation; the tokenizer has no chat template.
    """
    facts = {"max_length": max_length, **conventions(tokenizer)}
    dtype = "<u2" if len(tokenizer) <= 1 << 16 else "<u4"
    write = partial(_write, conversations, tokenizer, max_length, dtype, out, progress)
    try:
        record = write(True)
    except Differs:
        record = write(False)
    record |= {**facts, "dtype": dtype}
    write_json(out / "tokens.json", record)
    return record


def _write(
    conversations: Path,
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    dtype: str,
    out: Path,
    progress: Any,
    fast: bool,
) -> dict[str, Json]:
    size = conversations.stat().st_size
    batches = mapped(
        encode_batch,
        _batches(conversations),
        cores() if size >= _MANY else 1,
        start=start_process,
        arguments=(tokenizer, max_length, dtype, fast),
    )
    reasons: dict[str, int] = {}
    names: list[str] = []
    rows: list[NDArray[Any]] = []
    done, is_fast = 0, False
    with (out / "ids.bin").open("wb") as ids, (out / "taught.bin").open("wb") as taught:
        for batch in batches:
            ids.write(batch.ids)
            taught.write(batch.taught)
            names += batch.names
            codes = [reasons.setdefault(reason, len(reasons) + 1) if reason else 0 for reason in batch.reasons]
            batch.rows["reason"] = codes
            rows.append(batch.rows)
            done += batch.bytes
            is_fast = batch.is_fast
            progress(done // 1000, size // 1000, "kB")
    table = np.concatenate([np.empty(0, ROW), *rows])
    table["offset"] = np.cumsum(table["length"], dtype=np.int64) - table["length"]
    np.save(out / "rows.npy", table)
    write_json(out / "names.json", names, indent=0)
    used = table["reason"] == 0
    return {
        "rows": len(table),
        "tokens": int(table["length"].sum()),
        "learned": int(table["learned"].sum()),
        "used": int(used.sum()),
        "truncated": int(table["truncated"].sum()),
        "reasons": list(reasons),
        "fast": is_fast,
    }


@dataclass(frozen=True)
class _Lines:
    """Lines of a conversations file."""

    where: str
    first: int
    """The number of the first, from 1."""
    lines: list[bytes]


@dataclass(frozen=True)
class _Encoded:
    """A batch of conversations as tokens."""

    ids: bytes
    taught: bytes
    rows: NDArray[Any]
    """Without offsets."""
    reasons: list[str]
    names: list[str]
    bytes: int
    is_fast: bool
    """Whether `fastokens` made the tokens."""


def _batches(path: Path) -> Iterator[_Lines]:
    with path.open("rb") as file:
        number = 1
        while lines := _some(file):
            yield _Lines(str(path), number, lines)
            number += len(lines)


def _some(file: Iterable[bytes]) -> list[bytes]:
    lines, size = [], 0
    for line in islice(file, _LINES):
        lines.append(line)
        size += len(line)
        if size >= _BYTES:
            break
    return lines


_process: dict[str, Any] = {}
"""What a process that encodes has loaded."""


def start_process(tokenizer: "PreTrainedTokenizerFast", max_length: int, dtype: str, fast: bool) -> None:
    """Make what `encode_batch` needs. It gets the tokenizer itself, because loading one imports every model's code."""
    _process.update(encoder=Encoder(tokenizer, max_length, fast=fast), dtype=dtype)


def encode_batch(batch: _Lines) -> _Encoded:
    """Encode lines of a conversations file, in a process that `start_process` has prepared."""
    chats = [
        conversation(parsed_line(line, where), where)
        for number, line in enumerate(batch.lines, batch.first)
        for where in [f"{batch.where}:{number}"]
        if line.strip()
    ]
    reasons = [_unanswered(chat) for chat in chats]
    encoded = iter(_process["encoder"]([c.messages for c, reason in zip(chats, reasons, strict=True) if not reason]))
    rows, parts = np.zeros(len(chats), ROW), list[Tokens]()
    for number, reason in enumerate(reasons):
        made = None if reason else next(encoded)
        if isinstance(made, Refused):
            reasons[number] = made.what
        elif made is not None:
            learned = int(made.taught[1:].sum())
            if not learned:
                reasons[number] = BEYOND if made.truncated else NONE
                continue
            rows[number] = (0, len(made.ids), learned, 0, made.truncated)
            parts.append(made)
    return _Encoded(
        b"".join(part.ids.astype(_process["dtype"]).tobytes() for part in parts),
        b"".join(part.taught.tobytes() for part in parts),
        rows,
        reasons,
        [chat.id for chat in chats],
        sum(map(len, batch.lines)),
        _process["encoder"].fast,
    )


def _unanswered(chat: Conversation) -> str:
    """Why a conversation teaches nothing; empty where it may teach."""
    answers = [message["content"].strip() for message in chat.messages if message["role"] == "assistant"]
    return "" if answers and all(answers) else EMPTY if answers else NONE
