"""Held-out negative log-likelihood: how well a model predicts responses (or plain texts) that it was not trained on.

Each named set has two metrics, both lower is better: `SET_nll`, nats per token, and `SET_bits_per_byte`, the same
likelihood per UTF-8 byte of the text, which models with different tokenizers share. An item's value is its own mean; a
set's score is the mean over items, so that one long item weighs no more than a short one and two models are compared
item by item.

    nll: {sets: {maths: {path: gsm8k_test.jsonl, columns: {prompt: question, response: answer}, role: domain}}}
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from pydantic import Field, field_validator

from harness.bench.api import Measured, MeasuredBenchmark, Metric, OpenMeasured, Sample
from harness.bench.held_out import DATA, HeldOutSet, check_named, files_of, input_files, mean_over_items
from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.lines import write_json, write_lines
from harness.core.settings import Settings
from harness.models.batching import by_length

if TYPE_CHECKING:
    from harness.data.conversations import Conversation
    from harness.models.chat import Encoded

_TOKENS_PER_BATCH = 4096


class SetSettings(HeldOutSet):
    """One held-out set: instruction data in a usual schema (its responses are scored), or plain texts."""

    text: str | None = None
    """Column of plain texts: all their tokens but the first are scored, without a chat template."""


class NLLSettings(Settings):
    """Which sets."""

    sets: dict[str, SetSettings] = Field(min_length=1)
    """Name -> set; the name is part of the metrics' names."""
    max_length: int = Field(1024, ge=2)
    """Tokens, prompt included; what lies beyond is not scored, and the file `truncated.json` counts such items."""

    _named = field_validator("sets")(check_named)


@dataclass(frozen=True)
class _Item:
    """One text to score."""

    id: str
    question: str
    answer: str
    ids: list[int]
    scored: list[bool]
    """Which tokens count."""
    scored_bytes: int
    truncated: bool


class NLL(OpenMeasured[NLLSettings]):
    """The chosen sets."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Two for each set; bits per byte is no headline."""
        made = []
        for name, one in self.settings.sets.items():
            made.append(Metric(f"{name}_nll", "nats/token", "lower", one.role))
            made.append(Metric(f"{name}_bits_per_byte", "bits/byte", "lower", one.role, headline=False))
        return tuple(made)

    def measure(self, model: Measured) -> list[Sample]:
        """Two rows per item; an item without a token to score, or that the chat template refuses, is `missing`.

        Raises:
            HarnessError: a set cannot be read, or nothing of it can be scored.
        """
        from harness.models.load import available, load_model, load_tokenizer

        settings = self.settings
        tokenizer = load_tokenizer(model.folder)
        found = {
            name: _items(one, files_of(name, self.files), tokenizer, settings.max_length, model.seed)
            for name, one in settings.sets.items()
        }
        sets = {name: items for name, (items, _) in found.items()}
        loaded = load_model(model.folder, model.dtype, available())
        every = [item for items in sets.values() for item in items]
        sums = dict(zip(map(id, every), _sums(loaded, every, model), strict=True))
        write_lines(model.out / "transcripts.jsonl", (row for s, items in sets.items() for row in _texts(s, items)))
        truncated = {name: sum(item.truncated for item in items) for name, items in sets.items()}
        write_json(model.out / "truncated.json", truncated, sort_keys=False)
        records = {name: record for name, (_, record) in found.items()}
        write_json(model.out / DATA, records, sort_keys=False)
        return [row for name, items in sets.items() for item in items for row in _rows(name, item, sums[id(item)])]

    def aggregate(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Each metric's mean over items."""
        return mean_over_items(BENCHMARK.name, samples)

    def export(self, folder: Path, model: str, measured: Path) -> None:
        """Nothing: no other tool has a format for this."""


def _items(
    one: SetSettings, files: Mapping[str, Sequence[Path]], tokenizer: Any, max_length: int, seed: int
) -> tuple[list[_Item], dict[str, Json]]:
    """The texts of a set, and the record of what was read."""
    from harness.data.columns import in_words
    from harness.data.readers import read_dataset, read_texts

    if one.text:
        texts = read_texts(one, one.text, files)
        items, record = list(_plain_texts(texts.texts, tokenizer, max_length)), texts.record
    else:
        data = read_dataset(one, seed, files)
        items, record = list(_responses(data.conversations, tokenizer, max_length)), data.record
    if not any(any(item.scored) for item in items):
        fix = " ".join(f"{line}." for line in in_words(record))
        raise HarnessError("nothing of this held-out set can be scored", where=one.name, fix=fix)
    return items, record


def _responses(conversations: "Sequence[Conversation]", tokenizer: Any, max_length: int) -> Iterator[_Item]:
    from harness.models.chat import encode
    from harness.models.rendering import Refused

    for conversation in conversations:
        told = [m["content"] for m in conversation.messages if m["role"] == "assistant" and m.get("train", True)]
        asked = "\n\n".join(m["content"] for m in conversation.messages if m["role"] != "assistant")
        try:
            encoded = encode(tokenizer, conversation.messages, max_length)
        except Refused:
            yield _Item(conversation.id, asked, "\n\n".join(told), [], [], 0, False)
            continue
        scored = [False, *encoded.response_mask[1:]]
        size = _bytes(encoded, scored)
        yield _Item(conversation.id, asked, "\n\n".join(told), encoded.input_ids, scored, size, encoded.truncated)


def _bytes(encoded: "Encoded", scored: Sequence[bool]) -> int:
    """UTF-8 bytes of the scored text, end-of-turn tokens with it; a byte-level token may hold part of a character."""
    inside = [offset for offset, mine in zip(encoded.offsets, scored, strict=True) if mine]
    covered = {c for start, end in inside for c in range(start, end)}
    return len("".join(encoded.text[c] for c in sorted(covered)).encode())


def _plain_texts(texts: Mapping[int, str], tokenizer: Any, max_length: int) -> Iterator[_Item]:
    for number, text in texts.items():
        tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = tokens["input_ids"][:max_length], tokens["offset_mapping"][:max_length]
        size = len(text[offsets[0][1] : offsets[-1][1]].encode()) if ids else 0
        scored = [False] * bool(ids) + [True] * (len(ids) - 1)
        yield _Item(str(number), "", text, ids, scored, size, len(tokens["input_ids"]) > max_length)


def _sums(model: Any, items: Sequence[_Item], given: Measured) -> list[float]:
    """Nats of each item's scored tokens together, longest items first so that a batch that does not fit fails early."""
    out = [0.0] * len(items)
    scored = [index for index, item in enumerate(items) if any(item.scored)]
    done = 0
    for places in by_length([len(items[i].ids) for i in scored], rows=given.batch_size, tokens=_TOKENS_PER_BATCH):
        batch = [scored[place] for place in places]
        for index, nats in zip(batch, _forward(model, [items[i] for i in batch]), strict=True):
            out[index] = nats
        done += len(batch)
        given.progress(done, len(scored), "items")
    return out


def _forward(model: Any, items: Sequence[_Item]) -> list[float]:
    import torch

    from harness.models.load import output_head
    from harness.models.logprobs import response_positions, token_logprobs

    length = max(len(item.ids) for item in items)
    ids = torch.tensor([item.ids + [0] * (length - len(item.ids)) for item in items], device=model.device)
    attention = torch.tensor([[1] * len(i.ids) + [0] * (length - len(i.ids)) for i in items], device=model.device)
    mask = torch.tensor([i.scored + [False] * (length - len(i.ids)) for i in items], device=model.device)
    with torch.inference_mode():
        hidden = model.base_model(input_ids=ids, attention_mask=attention, use_cache=False).last_hidden_state
        rows, columns = response_positions(mask)
        states = hidden[rows.to(hidden.device), columns.to(hidden.device)]
        logprobs = token_logprobs(states, output_head(model), ids[rows, columns + 1])
        sums = torch.zeros(len(items), dtype=torch.float64).index_add_(0, rows.cpu(), -logprobs.double().cpu())
    return [float(nats) for nats in sums]


def _rows(name: str, item: _Item, nats: float) -> list[Sample]:
    tokens, unit = sum(item.scored), f"{name}:{item.id}"

    def row(metric: str, value: float | None) -> Sample:
        status: Literal["ok", "missing"] = "ok" if value is not None else "missing"
        return Sample(BENCHMARK.name, metric, unit, unit, name, 1, 0, value, status, len(item.answer))

    bits = nats / math.log(2) / item.scored_bytes if tokens and item.scored_bytes else None
    return [
        row(f"{name}_nll", nats / tokens if tokens else None),
        row(f"{name}_bits_per_byte", bits if tokens else None),
    ]


def _texts(name: str, items: Sequence[_Item]) -> Iterator[dict[str, str]]:
    for item in items:
        yield {"item": f"{name}:{item.id}", "question": item.question, "reference": item.answer}


BENCHMARK = MeasuredBenchmark("nll", 2, NLLSettings, lambda settings: input_files(settings.sets), NLL)
