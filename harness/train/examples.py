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
from harness.models.chat import encode
from harness.models.rendering import Refused
from harness.models.turns import turn_end
from harness.train.losses import IGNORED


class Example(TypedDict):
    """One conversation as tokens."""

    input_ids: list[int]
    labels: list[int]
    """As long as `input_ids`: the ids at response tokens, else IGNORED."""
    row: int
    """Its number in the dataset, rows that are left out counted."""
    domain: int
    """0 for a general conversation, k for one of the k-th domain."""
    id: str


@dataclass(frozen=True)
class Examples:
    """What there is to train on, and what was left out."""

    examples: list[Example]
    rows: int
    skipped: dict[str, int]
    """Rows left out, by reason."""
    truncated: int
    """Rows that are trained on without their last tokens."""
    refused: tuple[dict[str, Json], ...] = ()
    """The first of the rows that the chat template refuses: number of the `row`, counted from 1, `id`, `reason`."""
    domains: tuple[str, ...] = ()
    """The domains that examples may be of, in the order that their numbers count."""

    @property
    def response_tokens(self) -> int:
        """The tokens that one pass learns from."""
        return sum(learned(example) for example in self.examples)

    @property
    def by_domain(self) -> dict[str, dict[str, int]]:
        """`rows` and `response_tokens` of `general` conversations and of each domain; empty without domains."""
        counts: dict[str, dict[str, int]] = {}
        for number, name in enumerate(("general", *self.domains) if self.domains else ()):
            own = [example for example in self.examples if example["domain"] == number]
            counts[name] = {"rows": len(own), "response_tokens": sum(map(learned, own))}
        return counts


def learned(example: Example) -> int:
    """The response tokens of an example."""
    return sum(label != IGNORED for label in example["labels"])


def encode_file(path: Path, tokenizer: Any, max_length: int, domains: Sequence[str] = ()) -> Examples:
    """Encode a conversations file; a row with an empty response, without a response token or that the chat template
    refuses is skipped and counted.

    A line is {id, messages} and, in a mix, `domain`: one of `domains`, or null for a general conversation.

    Raises:
        HarnessError: no row is left; a line that is no conversation; a domain that is not in `domains`.
    """
    examples: list[Example] = []
    skipped: Counter[str] = Counter()
    refused: list[dict[str, Json]] = []
    rows = truncated = 0
    for number, record in numbered_lines(path):
        rows += 1
        one = conversation(record, f"{path}:{number}")
        said = [message["content"].strip() for message in one.messages if message["role"] == "assistant"]
        if not said or not all(said):  # an empty one would teach to end at once
            skipped["empty response" if said else "no response"] += 1
            continue
        try:
            encoded = encode(tokenizer, one.messages, max_length)
        except Refused as error:
            skipped[error.what] += 1
            refused.append({"row": number, "id": one.id, "reason": error.what})
            continue
        if not any(encoded.response_mask[1:]):
            skipped["response beyond max_length" if encoded.truncated else "no response"] += 1
            continue
        truncated += encoded.truncated
        # Nothing precedes the first token, so nothing predicts it.
        labels = [i if r else IGNORED for i, r in zip(encoded.input_ids, encoded.response_mask, strict=True)]
        examples.append(
            {
                "input_ids": encoded.input_ids,
                "labels": [IGNORED, *labels[1:]],
                "row": rows - 1,
                "domain": _domain(one.domain, domains, f"{path}:{number}"),
                "id": one.id,
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
    named = tuple(refused[:_NAMED])
    return Examples(examples, rows, dict(sorted(skipped.items())), truncated, named, tuple(domains))


_NAMED = 10
"""Refused rows that are told one by one."""


def check_end(tokenizer: Any) -> None:
    """HarnessError where the chat template ends an answer with nothing that a student could learn to stop at."""
    if turn_end(tokenizer) is None:
        raise HarnessError(
            "the chat template ends an answer with no token of its own, so a student would never learn to stop",
            where=str(tokenizer.name_or_path),
            fix="Name a template with `chat_template:` that writes one after each answer, e.g. {{ eos_token }}.",
        )


def _domain(name: str | None, domains: Sequence[str], where: str) -> int:
    if name is None or not domains:  # where nobody tells domains apart, every conversation is general
        return 0
    if name not in domains:
        raise HarnessError(f"a conversation of the domain '{name}', known are: {', '.join(domains)}", where=where)
    return 1 + domains.index(name)


def hold_out(examples: Examples, share: float, seed: int) -> tuple[Examples, list[Example]]:
    """What is left to train on, and the held-out share: the same conversations wherever their ids and the seed are.

    Raises HarnessError where one of the two would be empty.
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
    length = max(len(e["input_ids"]) for e in examples)

    def padded(rows: list[list[int]], filling: int) -> torch.Tensor:
        return torch.tensor([row + [filling] * (length - len(row)) for row in rows])

    return {
        "input_ids": padded([e["input_ids"] for e in examples], 0),
        "attention_mask": padded([[1] * len(e["input_ids"]) for e in examples], 0),
        "labels": padded([e["labels"] for e in examples], IGNORED),
        "row": torch.tensor([e["row"] for e in examples]),
        "domain": torch.tensor([e["domain"] for e in examples]),
    }
