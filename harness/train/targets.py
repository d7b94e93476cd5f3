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
    index.npy      (conversations, 2) int64: the first of a conversation's rows of both arrays, and their number
    targets.json   the tokenizer's and the template's digest, top_k, temperature, the mean mass of all other tokens
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.lines import Journal, write_json
from harness.models.batching import by_length, padded
from harness.models.inventory import quantised
from harness.models.load import available, check_finite, load_model, load_tokenizer, output_head
from harness.models.logprobs import TopTarget, top_logprobs
from harness.train.api import Batch, Teacher
from harness.train.examples import Examples
from harness.train.losses import IGNORED, response_states
from harness.train.settings import TARGET_TOKENS
from harness.train.tokens import CONVENTIONS, TokenFile, check_tokens

Progress = Callable[..., None]
"""progress(done, total, unit)"""


@dataclass(frozen=True)
class TargetPass:
    """The settings that determine stored targets, beside the teacher and the conversations."""

    top_k: int
    temperature: float
    dtype: Literal["float32", "bfloat16"]


def write_targets(
    model_folder: Path, tokens_folder: Path, settings: TargetPass, *, out: Path, work: Path, progress: Progress
) -> dict[str, Json]:
    """Run a teacher over stored tokens; a stopped pass goes on from its last whole batch in `work`.

    Returns:
        The content of `targets.json`.

    Raises:
        HarnessError: a broken model, tokens of another tokenizer or chat template, predictions that are not finite.
    """
    tokens, tokenizer = TokenFile.open(tokens_folder), load_tokenizer(model_folder)
    check_tokens(tokens, tokenizer)
    vocabulary = len(tokenizer)
    model = load_model(model_folder, settings.dtype, available())
    check_finite(model, str(model_folder))
    counts = tokens.rows["learned"].astype(np.int64)
    offsets, positions, k = np.cumsum(counts) - counts, int(counts.sum()), min(settings.top_k, vocabulary)
    if not positions:
        reasons = ", ".join(tokens.record["reasons"])
        raise HarnessError(f"no conversation has a response to predict ({reasons})", where=str(model_folder))
    ids, logprobs = _arrays(work, (positions, k), vocabulary)
    with Journal(work / "batches.jsonl") as journal:
        finished, done = {record["first"] for record in journal.records}, 0
        predicted = np.flatnonzero(counts)
        for indices in by_length(tokens.rows["length"][predicted].tolist(), tokens=TARGET_TOKENS):
            batch = predicted[indices]
            first = int(offsets[batch[0]])
            if first not in finished:
                top = _predict(model, [tokens.tokens(row) for row in batch.tolist()], settings, vocabulary, k)
                places = np.concatenate([np.arange(offsets[row], offsets[row] + counts[row]) for row in batch])
                ids[places], logprobs[places] = top.ids.cpu().numpy(), top.logprobs.cpu().numpy()
                ids.flush()
                logprobs.flush()
                journal.append({"first": first})
            done += int(counts[batch].sum())
            progress(done, positions, "positions")
    left = sum(float((1 - np.exp(part).sum(axis=1)).sum()) for part in np.array_split(logprobs, 1 + positions // 8192))
    journal.path.unlink()  # Before the arrays move: a new start takes every batch in the journal as stored in them.
    for name in ("ids.npy", "logprobs.npy"):
        os.replace(work / name, out / name)
    np.save(out / "index.npy", np.stack([offsets, counts], axis=1))
    facts: dict[str, Json] = {
        **vars(settings),
        **{name: tokens.record[name] for name in CONVENTIONS},
        "top_k": k,
        "conversations": len(counts),
        "positions": positions,
        "mean_remaining_mass": max(left / positions, 0.0),
    }
    if method := quantised(model_folder):
        facts["quantised"] = method
    write_json(out / "targets.json", facts)
    return facts


def stored_teacher(folders: Sequence[Path | None], examples: Examples) -> Teacher:
    """A teacher whose targets are read: a folder of targets for each of the examples' parts, in their order.

    Its `target` gives a TopTarget in the order of `response_positions`, for batches of rows of parts with a folder.

    Raises:
        HarnessError: the targets were stored with another tokenizer or chat template than the student's, or for other
            conversations.
    """
    stores = [folder and _Store.open(folder, part) for folder, part in zip(folders, examples.parts, strict=True)]
    top_k = next(store for store in stores if store).ids.shape[1]

    def target(batch: Batch) -> TopTarget:
        device, counts = batch["labels"].device, (batch["labels"][:, 1:] != IGNORED).sum(dim=1).tolist()
        ids, logprobs = (np.empty((sum(counts), top_k), dtype) for dtype in (np.int64, np.float32))
        begin = 0
        for row, count in zip(batch["row"].tolist(), counts, strict=True):
            if count:  # padding has no stored targets
                store, place = stores[examples.part[row]], int(examples.place[row])
                if store is None:
                    raise HarnessError("a row of the batch is of a domain that this teacher has no targets for")
                positions = store.positions(place, count)
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
    index: NDArray[np.int64]

    @staticmethod
    def open(folder: Path, tokens: TokenFile) -> "_Store":
        """Open targets for these tokens of the student."""
        facts = json.loads((folder / "targets.json").read_text())
        for name in CONVENTIONS:
            if facts[name] != tokens.record[name]:
                raise HarnessError(
                    f"the stored targets were made with another {name.replace('_', ' ')} than the student's",
                    where=str(folder),
                    fix="Choose a teacher of the student's family; give both the same `chat_template`.",
                )
        ids, logprobs, index = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("ids", "logprobs", "index"))
        if len(index) != len(tokens.rows):
            what = f"targets are stored for {len(index)} conversations, the dataset has {len(tokens.rows)}"
            raise HarnessError(what, where=str(folder))
        return _Store(folder, ids, logprobs, index)

    def positions(self, conversation: int, count: int) -> slice:
        """Where a conversation's targets lie; HarnessError unless they are as many as its positions in a batch."""
        offset, stored = self.index[conversation].tolist()
        if stored != count:
            what = f"targets are stored for {stored} positions of a conversation, its batch has {count}"
            raise HarnessError(what, where=str(self.folder), fix="Store them with the `max_length` of the training.")
        return slice(offset, offset + count)


def _predict(
    model: Any,
    rows: Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]]],
    settings: TargetPass,
    vocab_size: int,
    top_k: int,
) -> TopTarget:
    """The predictions at the response positions of conversations, row after row."""
    ids, mask = padded([ids for ids, _ in rows], 0)
    labels = padded([np.where(taught, ids, IGNORED) for ids, taught in rows], IGNORED)[0]
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
    with torch.inference_mode():
        hidden = response_states(model, batch)
        top = top_logprobs(hidden, output_head(model)[:vocab_size], top_k, settings.temperature)
    if not torch.isfinite(top.logprobs).all():
        raise HarnessError(
            "the teacher's probabilities are not finite", where=str(model.name_or_path), fix="Try `dtype: float32`."
        )
    return top


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
