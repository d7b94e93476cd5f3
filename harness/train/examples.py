"""The examples of a training, read from a dataset's stored tokens, and their batches."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.seeds import derive_seed
from harness.data.mixing import GENERAL
from harness.models.batching import padded
from harness.models.turns import turn_end
from harness.train.losses import IGNORED
from harness.train.tokens import BEYOND, EMPTY, NONE, TokenFile


class Example(TypedDict):
    """A conversation as tokens."""

    input_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    """As long as `input_ids`: the ids at response tokens, else IGNORED."""
    row: int
    """Its number in the dataset, skipped rows counted."""
    domain: int
    """0 for a general conversation, k for a conversation of the k-th domain."""
    sampled: bool
    """Whether the student wrote the response."""


@dataclass(frozen=True)
class Examples(Sequence[Example]):
    """Conversations of stored tokens: all of a dataset's that can be trained on, or those that were chosen of them."""

    parts: Sequence[TokenFile]
    """The tokens of the general conversations, and of each domain's in the recipe's order."""
    part: NDArray[Any]
    """(rows,) the part that each row of the dataset is of."""
    place: NDArray[Any]
    """(rows,) its number in that part."""
    chosen: NDArray[Any]
    """(examples,) the rows that are examples."""
    domains: tuple[str, ...] = ()
    """The domains that examples may be of, in the order that their numbers count."""

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, number: Any) -> Any:
        row = int(self.chosen[number])
        part, place = int(self.part[row]), int(self.place[row])
        ids, taught = self.parts[part].tokens(place)
        return Example(input_ids=ids, labels=np.where(taught, ids, IGNORED), row=row, domain=part, sampled=False)

    @property
    def rows(self) -> int:
        """The rows of the dataset, those that are left out counted."""
        return len(self.part)

    @property
    def lengths(self) -> list[int]:
        """The tokens of each example."""
        lengths: list[int] = self._column("length")[self.chosen].tolist()
        return lengths

    @property
    def response_tokens(self) -> int:
        """The tokens that an epoch learns from."""
        return int(self._column("learned")[self.chosen].sum())

    @property
    def by_domain(self) -> dict[str, dict[str, int]]:
        """`rows` and `response_tokens` of `general` conversations and of each domain; empty without domains."""
        counts: dict[str, dict[str, int]] = {}
        learned = self._column("learned")
        for number, name in enumerate(("general", *self.domains) if self.domains else ()):
            rows = self.chosen[self.part[self.chosen] == number]
            counts[name] = {"rows": len(rows), "response_tokens": int(learned[rows].sum())}
        return counts

    @property
    def truncated(self) -> int:
        """Rows that are trained on without their last tokens."""
        return int(self._column("truncated").sum())

    @property
    def skipped(self) -> dict[str, int]:
        """Rows that are not trained on, by reason."""
        return dict(sorted(Counter(reason for _, reason in self._left_out()).items()))

    @property
    def refused(self) -> list[dict[str, Json]]:
        """The first rows that the chat template refuses: number of the `row`, counted from 1, `id`, `reason`."""
        left_out = [(row, reason) for row, reason in self._left_out() if reason not in (EMPTY, NONE, BEYOND)][:_LISTED]
        names = self.names([row for row, _ in left_out])
        return [{"row": row + 1, "id": n, "reason": r} for (row, r), n in zip(left_out, names, strict=True)]

    def names(self, rows: Sequence[int] | NDArray[Any]) -> list[str]:
        """The ids of rows of the dataset."""
        if len(rows) == 0:
            return []
        names = [part.names() for part in self.parts]
        if not self.domains:
            return [names[0][self.place[row]] for row in rows]
        prefixes = [GENERAL, *self.domains]
        return [f"{prefixes[self.part[row]]}/{names[self.part[row]][self.place[row]]}" for row in rows]

    def _column(self, name: str) -> NDArray[Any]:
        """A column of the parts' `ROW` records, for every row of the dataset."""
        values = np.zeros(self.rows, self.parts[0].rows.dtype[name])
        for number, part in enumerate(self.parts):
            here = self.part == number
            values[here] = part.rows[name][self.place[here]]
        return values

    def _left_out(self) -> list[tuple[int, str]]:
        """(row, reason) of the rows that are not trained on."""
        reasons = self._column("reason")
        return [
            (row, self.parts[self.part[row]].record["reasons"][reasons[row] - 1])
            for row in np.flatnonzero(reasons).tolist()
        ]


_LISTED = 10
"""Refused rows that are listed; all are counted."""


def read_examples(folders: Sequence[Path], order: Path | None = None, domains: Sequence[str] = ()) -> Examples:
    """The examples of stored tokens: of one dataset, or of a mix of general conversations and those of `domains`.

    `order` is a mix's rows.npy: (rows, 2), the part and the row in it of each row of the mix.

    Raises:
        HarnessError: no row can be trained on.
    """
    parts = [TokenFile.open(folder) for folder in folders]
    whole = len(parts[0].rows)
    part, place = (np.zeros(whole, np.int32), np.arange(whole)) if order is None else np.load(order).T
    every = Examples(parts, part, place, np.empty(0, np.int64), tuple(domains) if order is not None else ())
    chosen = np.flatnonzero(every._column("reason") == 0)
    if not len(chosen):
        raise _nothing(every)
    return replace(every, chosen=chosen)


def _nothing(examples: Examples) -> HarnessError:
    skipped, refused = examples.skipped, examples.refused
    reasons = ", ".join(f"{reason}: {n}" for reason, n in skipped.items()) or "there are no conversations"
    fix = ""
    if BEYOND in skipped:
        fix = "Raise `max_length`."
    elif NONE in skipped:
        fix = "`harness data show RECIPE` names the columns that were read, and what looks like a response."
    elif refused:
        fix = "Name a chat template that takes such conversations: `chat_template: FILE` beside the model."
    where = f"row {refused[0]['row']}, {refused[0]['id']}" if refused else ""
    return HarnessError(f"there is nothing to train on ({reasons})", where=where, fix=fix)


def learned(example: Example) -> int:
    """The response tokens of an example."""
    return int((example["labels"] != IGNORED).sum())


def check_end(tokenizer: Any) -> None:
    """HarnessError where the chat template ends an answer with no token at which a student could learn to stop."""
    if turn_end(tokenizer) is None:
        raise HarnessError(
            "the chat template ends an answer with no token of its own, so a student would never learn to stop",
            where=str(tokenizer.name_or_path),
            fix="Name a template with `chat_template:` that writes a token after each answer, e.g. {{ eos_token }}.",
        )


def hold_out(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """The examples to train on, and the held-out share of them. Ids and seed alone decide which are held out.

    Raises HarnessError where either would be empty.
    """
    names = examples.names(examples.chosen)
    ordered = np.array(sorted(range(len(names)), key=lambda number: derive_seed(seed, "held out", names[number])))
    count = round(share * len(names))
    if count in (0, len(names)):
        raise HarnessError(
            f"{share:g} of {len(names)} examples leaves {count} to hold out and {len(names) - count} to train on",
            fix="Choose another `held_out`, or give more data.",
        )
    held = replace(examples, chosen=examples.chosen[ordered[:count]])
    return replace(examples, chosen=examples.chosen[np.sort(ordered[count:])]), held


def filler() -> Example:
    """An example without a response: it adds nothing to any loss."""
    return {"input_ids": np.array([0]), "labels": np.array([IGNORED]), "row": 0, "domain": 0, "sampled": False}


def collate(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """Pad on the right to (B, L) `input_ids`, `attention_mask`, `labels`; `row`, `domain`, `sampled` are (B,)."""
    ids, mask = padded([e["input_ids"] for e in examples], 0)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": padded([e["labels"] for e in examples], IGNORED)[0],
        "row": torch.tensor([e["row"] for e in examples]),
        "domain": torch.tensor([e["domain"] for e in examples]),
        "sampled": torch.tensor([e["sampled"] for e in examples]),
    }
