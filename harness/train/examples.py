"""Conversations to training examples, and examples to batches."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.core.errors import HarnessError
from harness.data.readers import read_conversations
from harness.models.chat import encode
from harness.train.losses import IGNORED

Example = dict[str, list[int]]
"""`input_ids` and `labels`, lists of the same length."""


@dataclass(frozen=True)
class Examples:
    """What there is to train on, and what was left out."""

    examples: list[Example]
    rows: int
    skipped: dict[str, int]
    """Rows left out, by reason."""
    truncated: int
    """Rows that are trained on without their last tokens."""
    response_tokens: int


def encode_file(path: Path, tokenizer: Any, max_length: int) -> Examples:
    """Encode a conversations file; a row without a response token is skipped and counted.

    Raises HarnessError when no row is left.
    """
    conversations = read_conversations(path)
    examples: list[Example] = []
    skipped: Counter[str] = Counter()
    truncated = 0
    for conversation in conversations:
        encoded = encode(tokenizer, conversation.messages, max_length)
        if not any(encoded.response_mask[1:]):
            skipped["response beyond max_length" if encoded.truncated else "no response"] += 1
            continue
        truncated += encoded.truncated
        # Nothing precedes the first token, so nothing predicts it.
        labels = [i if r else IGNORED for i, r in zip(encoded.input_ids, encoded.response_mask, strict=True)]
        examples.append({"input_ids": encoded.input_ids, "labels": [IGNORED, *labels[1:]]})
    if not examples:
        reasons = ", ".join(f"{reason}: {n}" for reason, n in skipped.items()) or "the file is empty"
        raise HarnessError(f"there is nothing to train on ({reasons})", where=str(path))
    tokens = sum(label != IGNORED for example in examples for label in example["labels"])
    return Examples(examples, len(conversations), dict(sorted(skipped.items())), truncated, tokens)


def collate(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """Pad on the right to (B, L) tensors `input_ids`, `attention_mask`, `labels`."""
    length = max(len(e["input_ids"]) for e in examples)

    def padded(rows: list[list[int]], filler: int) -> torch.Tensor:
        return torch.tensor([row + [filler] * (length - len(row)) for row in rows])

    return {
        "input_ids": padded([e["input_ids"] for e in examples], 0),
        "attention_mask": padded([[1] * len(e["input_ids"]) for e in examples], 0),
        "labels": padded([e["labels"] for e in examples], IGNORED),
    }
