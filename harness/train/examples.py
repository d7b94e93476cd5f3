"""Conversations to training examples, and examples to batches."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import torch

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.lines import numbered_lines
from harness.core.seeds import derive_seed
from harness.data.readers import conversation
from harness.models.batching import padded
from harness.models.chat import Encoded, encode
from harness.models.rendering import Refused
from harness.models.turns import turn_end
from harness.train.losses import IGNORED


class Example(TypedDict):
    """A conversation as tokens."""

    input_ids: list[int]
    labels: list[int]
    """As long as `input_ids`: the ids at response tokens, else IGNORED."""
    row: int
    """Its number in the dataset, skipped rows counted."""
    domain: int
    """0 for a general conversation, k for a conversation of the k-th domain."""
    id: str


@dataclass(frozen=True)
class Examples:
    """The examples to train on, and what was skipped."""

    examples: list[Example]
    rows: int
    skipped: dict[str, int]
    """Rows that are not trained on, by reason."""
    truncated: int
    """Rows that are trained on without their last tokens."""
    refused: tuple[dict[str, Json], ...] = ()
    """The first of the rows that the chat template refuses: number of the `row`, counted from 1, `id`, `reason`."""
    domains: tuple[str, ...] = ()
    """The domains that examples may be of, in the order that their numbers count."""

    @property
    def response_tokens(self) -> int:
        """The tokens that an epoch learns from."""
        return sum(learned(example) for example in self.examples)

    @property
    def by_domain(self) -> dict[str, dict[str, int]]:
        """`rows` and `response_tokens` of `general` conversations and of each domain; empty without domains."""
        counts: dict[str, dict[str, int]] = {}
        for number, name in enumerate(("general", *self.domains) if self.domains else ()):
            examples = [example for example in self.examples if example["domain"] == number]
            counts[name] = {"rows": len(examples), "response_tokens": sum(map(learned, examples))}
        return counts


def learned(example: Example) -> int:
    """The response tokens of an example."""
    return sum(label != IGNORED for label in example["labels"])


def encode_file(path: Path, tokenizer: Any, max_length: int, domains: Sequence[str] = ()) -> Examples:
    """Encode a conversations file; a row with an empty response, without a response token or that the chat template
    refuses is skipped and counted.

    A line is {id, messages} and, in a mix, `domain`: a name in `domains`, or null for a general conversation.

    Raises:
        HarnessError: no row is left; a line that is no conversation; a domain that is not in `domains`.
    """
    examples: list[Example] = []
    skipped: Counter[str] = Counter()
    refused: list[dict[str, Json]] = []
    rows = truncated = 0
    for number, record in numbered_lines(path):
        rows += 1
        chat = conversation(record, f"{path}:{number}")
        answers = [message["content"].strip() for message in chat.messages if message["role"] == "assistant"]
        if not answers or not all(answers):  # an empty answer would teach to end at once
            skipped["empty response" if answers else "no response"] += 1
            continue
        try:
            encoded = encode(tokenizer, chat.messages, max_length)
        except Refused as error:
            skipped[error.what] += 1
            refused.append({"row": number, "id": chat.id, "reason": error.what})
            continue
        if not any(encoded.response_mask[1:]):
            skipped["response beyond max_length" if encoded.truncated else "no response"] += 1
            continue
        truncated += encoded.truncated
        examples.append(
            {
                "input_ids": encoded.input_ids,
                "labels": labels_of(encoded),
                "row": rows - 1,
                "domain": _domain(chat.domain, domains, f"{path}:{number}"),
                "id": chat.id,
            }
        )
    if not examples:
        reasons = ", ".join(f"{reason}: {n}" for reason, n in skipped.items()) or "the file is empty"
        fix = ""
        if "response beyond max_length" in skipped:
            fix = "Raise `max_length`."
        elif "no response" in skipped:
            fix = "`harness data show RECIPE` names the columns that were read, and what looks like a response."
        where = f"{path}:{refused[0]['row']}" if refused else str(path)
        raise HarnessError(f"there is nothing to train on ({reasons})", where=where, fix=fix)
    counts = dict(sorted(skipped.items()))
    return Examples(examples, rows, counts, truncated, tuple(refused[:_LISTED]), tuple(domains))


_LISTED = 10
"""Refused rows that are listed; all are counted."""


def labels_of(encoded: Encoded) -> list[int]:
    """The ids at response tokens, else IGNORED, also for the first token, which no earlier token could predict."""
    labels = [i if r else IGNORED for i, r in zip(encoded.input_ids, encoded.response_mask, strict=True)]
    return [IGNORED, *labels[1:]]


def check_end(tokenizer: Any) -> None:
    """HarnessError where the chat template ends an answer with no token at which a student could learn to stop."""
    if turn_end(tokenizer) is None:
        raise HarnessError(
            "the chat template ends an answer with no token of its own, so a student would never learn to stop",
            where=str(tokenizer.name_or_path),
            fix="Name a template with `chat_template:` that writes a token after each answer, e.g. {{ eos_token }}.",
        )


def _domain(name: str | None, domains: Sequence[str], where: str) -> int:
    if name is None or not domains:  # without domains every conversation is general
        return 0
    if name not in domains:
        raise HarnessError(f"unknown domain '{name}'; there are {', '.join(domains)}", where=where)
    return 1 + domains.index(name)


def hold_out(examples: Examples, share: float, seed: int) -> tuple[Examples, list[Example]]:
    """The examples to train on, and the held-out share of them. Ids and seed alone decide which are held out.

    Raises HarnessError where either would be empty.
    """
    ordered = sorted(examples.examples, key=lambda example: derive_seed(seed, "held out", example["id"]))
    held = ordered[: round(share * len(ordered))]
    rows = {example["row"] for example in held}
    rest = [example for example in examples.examples if example["row"] not in rows]
    if not held or not rest:
        raise HarnessError(
            f"{share:g} of {len(ordered)} examples leaves {len(held)} to hold out and {len(rest)} to train on",
            fix="Choose another `held_out`, or give more data.",
        )
    return replace(examples, examples=rest), held


def filler() -> Example:
    """An example without a response: it adds nothing to any loss."""
    return {"input_ids": [0], "labels": [IGNORED], "row": 0, "domain": 0, "id": ""}


def collate(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """Pad on the right to (B, L) `input_ids`, `attention_mask`, `labels`; `row` and `domain` are (B,)."""
    ids, mask = padded([e["input_ids"] for e in examples], 0)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": padded([e["labels"] for e in examples], IGNORED)[0],
        "row": torch.tensor([e["row"] for e in examples]),
        "domain": torch.tensor([e["domain"] for e in examples]),
    }
