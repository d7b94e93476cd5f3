"""A teacher's predictions at response positions: stored in a pass, and read by every training that needs them.

At each position the `top_k` likeliest tokens are stored with their log-probabilities, of softmax(logits / temperature);
all other tokens share what is left of 1. A pass is over a dataset as it is, not over a mix of it, so that every ratio,
seed and student shares the pass.

A divergence over k tokens and a bucket for the rest is a lower bound of the whole. `benchmarks/topk_bias.py TEACHER
STUDENT CONVERSATIONS` measures how low: of a pocket generalist's KL to an undistilled student (0.93 nats a token, a
vocabulary of 122) k = 1, 4, 16, 64 keep 94, 99.0, 99.6, 99.9 %; of SmolLM2's KL to itself two steps of fine-tuning
earlier (0.0013 nats, a vocabulary of 49,152) k = 1, 16, 64, 256 keep 44, 87, 94, 97 %. Storing float16 would add an
error of 6e-5 and 6e-6 nats a position, half a percent of the loss of a student close to its teacher: hence float32.

    ids.npy        (N, k) uint16 (uint32 for a vocabulary beyond 65,536), likeliest first
    logprobs.npy   (N, k) float32, nats
    index.jsonl    {"id", "offset", "positions"} of each conversation: its rows of both arrays
    targets.json   the tokenizer's and the template's digest, top_k, temperature, the mean mass of all other tokens
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from harness.core.canonical import Json, digest
from harness.core.errors import HarnessError
from harness.core.lines import Journal, read_lines, write_json, write_lines
from harness.data.readers import read_conversations
from harness.models.batching import by_length, padded
from harness.models.chat import encode, template_digest
from harness.models.load import check_finite, load_model, load_tokenizer, output_head
from harness.models.logprobs import TopTarget, top_logprobs
from harness.models.rendering import Refused
from harness.train.api import Batch, Teacher
from harness.train.examples import labels_of
from harness.train.losses import IGNORED, response_states

BATCH_TOKENS = 2048
"""Tokens per forward pass, padding included."""

Progress = Callable[..., None]
"""progress(done, total, unit)"""


@dataclass(frozen=True)
class TargetPass:
    """The settings that determine stored targets, beside the teacher and the conversations."""

    top_k: int
    temperature: float
    max_length: int
    """Tokens of a conversation, as in the training that reads the targets."""
    dtype: Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class _Row:
    """A conversation in the arrays."""

    id: str
    input_ids: list[int]
    labels: list[int]
    offset: int
    positions: int


def write_targets(
    model_folder: Path, conversations_path: Path, settings: TargetPass, *, out: Path, work: Path, progress: Progress
) -> dict[str, Json]:
    """Run a teacher over conversations; a stopped pass goes on from its last whole batch in `work`.

    Returns:
        The content of `targets.json`.

    Raises:
        HarnessError: a broken model, a chat template that cannot mark responses, predictions that are not finite.
    """
    tokenizer = load_tokenizer(model_folder)
    rows = _encoded(conversations_path, tokenizer, settings.max_length)
    model = load_model(model_folder, settings.dtype, "cuda" if torch.cuda.is_available() else "cpu")
    check_finite(model, str(model_folder))
    positions, k = sum(row.positions for row in rows), min(settings.top_k, len(tokenizer))
    if not positions:
        raise HarnessError("no conversation has a response within max_length", where=str(conversations_path))
    ids, logprobs = _arrays(work, (positions, k), len(tokenizer))
    with Journal(work / "batches.jsonl") as journal:
        finished, done = {record["first"] for record in journal.records}, 0
        predicted = [row for row in rows if row.positions]
        for indices in by_length([len(row.input_ids) for row in predicted], tokens=BATCH_TOKENS):
            batch = [predicted[index] for index in indices]
            if batch[0].offset not in finished:
                _predict(model, batch, settings, len(tokenizer), ids, logprobs)
                ids.flush()
                logprobs.flush()
                journal.append({"first": batch[0].offset})
            done += sum(row.positions for row in batch)
            progress(done, positions, "positions")
    left = sum(float((1 - np.exp(part).sum(axis=1)).sum()) for part in np.array_split(logprobs, 1 + positions // 8192))
    journal.path.unlink()  # Before the arrays move: a new start takes every batch in the journal as stored in them.
    for name in ("ids.npy", "logprobs.npy"):
        os.replace(work / name, out / name)
    write_lines(out / "index.jsonl", ({"id": r.id, "offset": r.offset, "positions": r.positions} for r in rows))
    facts: dict[str, Json] = {
        **vars(settings),
        **_conventions(tokenizer),
        "top_k": k,
        "conversations": len(rows),
        "positions": positions,
        "mean_remaining_mass": max(left / positions, 0.0),
    }
    write_json(out / "targets.json", facts)
    return facts


def stored_teacher(folders: Mapping[str | None, Path], conversations_path: Path, student_folder: Path) -> Teacher:
    """A teacher whose targets are read from `folders`: domain of the dataset -> folder, None -> that of general rows.

    Its `target` gives a TopTarget in the order of `response_positions`, for batches of rows whose domain has a folder.

    Raises:
        HarnessError: the targets were stored with another tokenizer or chat template than the student's, or for other
            conversations.
    """
    conventions = _conventions(load_tokenizer(student_folder))
    stores = {domain: _Store.open(folder, conventions) for domain, folder in folders.items()}
    top_k = next(iter(stores.values())).ids.shape[1]
    places: list[tuple[_Store, int, int] | None] = []
    for row in read_conversations(conversations_path):
        store = stores.get(row.domain)
        places.append((store, *store.place(row.source or row.id)) if store else None)

    def target(batch: Batch) -> TopTarget:
        device, counts = batch["labels"].device, (batch["labels"][:, 1:] != IGNORED).sum(dim=1).tolist()
        ids, logprobs = (np.empty((sum(counts), top_k), dtype) for dtype in (np.int64, np.float32))
        begin = 0
        for row, count in zip(batch["row"].tolist(), counts, strict=True):
            if count:  # padding and rows without a response have no stored targets
                store, positions = _stored(places[row], count)
                ids[begin : begin + count] = store.ids[positions]
                logprobs[begin : begin + count] = store.logprobs[positions]
                begin += count
        return TopTarget(torch.from_numpy(ids).to(device), torch.from_numpy(logprobs).to(device))

    return Teacher(target)


@dataclass(frozen=True)
class _Store:
    """A folder of targets, opened."""

    folder: Path
    ids: NDArray[Any]
    logprobs: NDArray[Any]
    index: Mapping[str, tuple[int, int]]

    @staticmethod
    def open(folder: Path, conventions: Mapping[str, str]) -> "_Store":
        facts = json.loads((folder / "targets.json").read_text())
        for name, value in conventions.items():
            if facts[name] != value:
                raise HarnessError(
                    f"the stored targets were made with another {name.replace('_', ' ')} than the student's",
                    where=str(folder),
                    fix="Choose a teacher of the student's family; give both the same `chat_template`.",
                )
        ids, logprobs = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("ids", "logprobs"))
        index = {row["id"]: (row["offset"], row["positions"]) for row in read_lines(folder / "index.jsonl")}
        return _Store(folder, ids, logprobs, index)

    def place(self, conversation: str) -> tuple[int, int]:
        """Offset and number of positions."""
        if conversation not in self.index:
            raise HarnessError(f"no targets are stored for conversation '{conversation}'", where=str(self.folder))
        return self.index[conversation]


def _stored(place: tuple[_Store, int, int] | None, count: int) -> tuple[_Store, slice]:
    """Where a conversation's targets lie; HarnessError unless they are as many as its `count` positions in a batch."""
    if place is None:
        raise HarnessError("a row of the batch is of a domain that this teacher has no targets for")
    store, offset, positions = place
    if positions != count:
        what = f"targets are stored for {positions} positions of a conversation, its batch has {count}"
        raise HarnessError(what, where=str(store.folder), fix="Store them with the `max_length` of the training.")
    return store, slice(offset, offset + positions)


def _conventions(tokenizer: Any) -> dict[str, str]:
    """The digests that two models must share for positions and tokens to mean the same."""
    return {"tokenizer": digest(sorted(tokenizer.get_vocab().items())), "chat_template": template_digest(tokenizer)}


def _encoded(path: Path, tokenizer: Any, max_length: int) -> list[_Row]:
    rows, offset = [], 0
    refused: Refused | None = None
    for conversation in read_conversations(path):
        try:
            encoded = encode(tokenizer, conversation.messages, max_length)
        except Refused as error:  # training leaves this conversation out too
            refused = refused or error
            rows.append(_Row(conversation.id, [], [], offset, 0))
            continue
        labels = labels_of(encoded)
        positions = sum(label != IGNORED for label in labels)
        rows.append(_Row(conversation.id, encoded.input_ids, labels, offset, positions))
        offset += positions
    if refused and not offset:
        raise HarnessError(refused.what, where=str(path), fix=refused.fix)
    return rows


def _predict(
    model: Any, rows: Sequence[_Row], settings: TargetPass, vocab_size: int, ids: NDArray[Any], logprobs: NDArray[Any]
) -> None:
    """Run a batch and write its predictions into the arrays."""
    tokens, mask = padded([row.input_ids for row in rows], 0)
    batch = {"input_ids": tokens, "attention_mask": mask, "labels": padded([row.labels for row in rows], IGNORED)[0]}
    batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
    with torch.inference_mode():
        hidden = response_states(model, batch)
        top = top_logprobs(hidden, output_head(model)[:vocab_size], ids.shape[1], settings.temperature)
    if not torch.isfinite(top.logprobs).all():
        raise HarnessError(
            "the teacher's probabilities are not finite", where=str(model.name_or_path), fix="Try `dtype: float32`."
        )
    begin = 0
    for row in rows:
        end = begin + row.positions
        ids[row.offset : row.offset + row.positions] = top.ids[begin:end].cpu().numpy()
        logprobs[row.offset : row.offset + row.positions] = top.logprobs[begin:end].cpu().numpy()
        begin = end


def _arrays(work: Path, shape: tuple[int, int], vocab_size: int) -> tuple[Any, Any]:
    """Both arrays on disk, `ids` and `logprobs`, as an earlier start left them or new."""

    open_memmap: Any = np.lib.format.open_memmap

    def opened(name: str, dtype: Any) -> Any:
        path = work / f"{name}.npy"
        if not path.exists():
            new = work / f"{name}.new"
            open_memmap(new, mode="w+", dtype=dtype, shape=shape).flush()
            os.replace(new, path)
        return open_memmap(path, mode="r+")

    return opened("ids", np.uint16 if vocab_size <= 1 << 16 else np.uint32), opened("logprobs", np.float32)
