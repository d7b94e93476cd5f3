"""The forward passes of a student base over a teacher's responses, from which likelihood-type scores are computed."""

import base64
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.lines import Journal
from harness.models.batching import by_length, padded
from harness.models.load import Dtype, available, check_finite, load_model, output_head
from harness.models.logprobs import CHUNK, token_logprobs, token_logprobs_and_ranks
from harness.teachers import sequences
from harness.teachers.api import Need, TokenTable
from harness.teachers.responses import read_responses, scoring_tokenizer
from harness.teachers.sequences import Response, Row
from harness.teachers.settings import PassSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CPU_CHUNK, CPU_TOKENS = 32, 1024
"""Positions projected at once, and tokens per batch: on a CPU a batch that exceeds the caches is slower, not faster."""

Progress = Callable[..., None]
"""progress(done, total, unit)"""
Values = tuple[NDArray[np.float32], NDArray[np.int32] | None]
"""Log-probabilities of a batch's tokens, row after row, and their ranks (None if no score needs them)."""


def measure(
    model_folder: Path,
    conversations: Sequence[Mapping[str, Any]],
    settings: PassSettings,
    passes: frozenset[Need],
    progress: Progress,
    *,
    work: Path | None = None,
) -> TokenTable:
    """Score every assistant token of `conversations` ({id, messages}) under a model; a row of the table for each.

    A conversation with no answer or a blank answer is `empty`; if its prompt fills `max_length` (or the model's limit,
    if that is lower) it is `no room`; a longer response is scored up to there and `cut`. A model without a chat
    template gets `responses.PLAIN_TEMPLATE`. In float32 the cut into batches changes no value. Finished batches are
    stored in `work`, and not computed again.

    Raises:
        HarnessError: a broken model, logits that are not a plain projection, log-probabilities that are not finite.
    """
    tokenizer = scoring_tokenizer(model_folder)
    model = load_model(model_folder, cast(Dtype, settings.dtype), available())
    check_finite(model, str(model_folder))
    return score_responses(model, tokenizer, conversations, settings, passes, progress, work=work)


def score_responses(
    model: Any,
    tokenizer: Any,
    conversations: Sequence[Mapping[str, Any]],
    settings: PassSettings,
    passes: frozenset[Need],
    progress: Progress,
    *,
    work: Path | None = None,
) -> TokenTable:
    """`measure` with a loaded model, in the model's dtype."""
    model_limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    table, responses = read_responses(tokenizer, conversations, min(settings.max_length, model_limit or 1 << 62))
    total = int(table["tokens"].sum())
    runs = ["tokens", *(name for name in ("alone", "local") if name in passes)]
    out: dict[str, NDArray[Any]] = {run: np.empty(total, np.float32) for run in runs}
    if "ranks" in passes:
        out["ranks"] = np.empty(total, np.int32)
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(Journal(work / "batches.jsonl")) if work else None
        for number, run in enumerate(runs):
            rows = [row for response in responses for row in _rows(run, response, settings, tokenizer, model)]
            done = number * total
            ranked = "ranks" in passes and run == "tokens"
            for batch, (logprobs, ranks) in _batches(model, rows, settings.batch_tokens, ranked, journal, run):
                _put(out[run], batch, logprobs)
                if ranks is not None:
                    _put(out["ranks"], batch, ranks)
                done += len(logprobs)
                progress(done, len(runs) * total, "tokens")
    steps = np.concatenate([np.empty(0, np.int32), *(response.steps for response in responses)])
    return TokenTable(table, out["tokens"], out.get("ranks"), out.get("alone"), out.get("local"), steps)


def forward(model: Any, rows: Sequence[Row], ranked: bool) -> Values:
    """Run a batch, padded on the right, where a causal model's other positions never see the padding."""
    import torch

    device = model.device
    chunk = CPU_CHUNK if device.type == "cpu" else CHUNK
    options: dict[str, Any] = {}
    if rows[0].segments is not None:
        options["position_ids"] = padded([row.positions for row in rows], 0)[0].to(device)
        options["attention_mask"] = _segment_mask(padded([row.segments for row in rows], -1)[0].to(device), model.dtype)
    places = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor([len(row.targets) for row in rows]))
    columns, targets = (
        torch.from_numpy(np.concatenate(parts)).long().to(device)
        for parts in ([row.predictors for row in rows], [row.targets for row in rows])
    )
    with torch.inference_mode():
        ids = padded([row.ids for row in rows], 0)[0].to(device)
        hidden = model.base_model(input_ids=ids, use_cache=False, **options).last_hidden_state
        picked = hidden[places.to(hidden.device), columns.to(hidden.device)]
        if ranked:
            logprobs, ranks = token_logprobs_and_ranks(picked, output_head(model), targets, chunk)
            values: Values = logprobs.cpu().numpy(), ranks.to(torch.int32).cpu().numpy()
        else:
            values = token_logprobs(picked, output_head(model), targets, chunk).cpu().numpy(), None
    if not np.isfinite(values[0]).all():
        raise HarnessError(
            "log-probabilities are not finite", where=str(model.name_or_path), fix="Try `dtype: float32`."
        )
    return values


def _rows(run: str, response: Response, settings: PassSettings, tokenizer: Any, model: Any) -> Iterator[Row]:
    match run:
        case "tokens":
            return sequences.given_prompt(response)
        case "alone":
            return sequences.alone(response, _start_id(tokenizer))
        case _:
            _check_full_attention(model, settings.max_length)
            return sequences.local(response, settings.local_steps, 2 * settings.max_length)


def _start_id(tokenizer: Any) -> int:
    """The token before a response without its prompt: the tokenizer's start token, else its end token."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise HarnessError(
        "the tokenizer has neither a start nor an end token, so a response cannot be scored without its prompt",
        where=str(tokenizer.name_or_path),
        fix="Leave out the scores that need `alone` (IFD).",
    )


def _check_full_attention(model: Any, length: int) -> None:
    """Refuse layers with a window or a recurrent state: they do not follow the attention mask that separates steps."""
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None) or length
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if window < length or kinds - {"full_attention", "sliding_attention"}:
        raise HarnessError(
            f"{type(model).__name__} does not attend to the whole text, so steps cannot be scored with few before them",
            where=str(model.name_or_path),
            fix="Leave out the scores that need `local`, or lower `max_length` to the model's window.",
        )


def _segment_mask(segments: "Tensor", dtype: "torch.dtype") -> "Tensor":
    """(B, 1, L, L), to be added to scores: a row's token sees the prompt (0) and its segment, up to itself."""
    import torch

    same = (segments[:, :, None] == segments[:, None, :]) | (segments[:, None, :] == 0)
    hidden = torch.zeros(same.shape, dtype=dtype, device=same.device)
    return hidden.masked_fill_(~same.tril(), torch.finfo(dtype).min)[:, None]


def _put(out: NDArray[Any], batch: Sequence[Row], values: NDArray[Any]) -> None:
    begin = 0
    for row in batch:
        end = begin + len(row.targets)
        out[row.start : row.start + end - begin] = values[begin:end]
        begin = end


def _batches(
    model: Any, rows: Sequence[Row], batch_tokens: int, ranked: bool, journal: Journal | None, run: str
) -> Iterator[tuple[list[Row], Values]]:
    """Every batch with its values, which are read from the journal if an earlier start computed them."""
    finished = {record["batch"]: record for record in journal.records} if journal else {}
    most = min(batch_tokens, CPU_TOKENS) if model.device.type == "cpu" else batch_tokens
    for indices in by_length([len(row.ids) for row in rows], tokens=most):
        batch = [rows[i] for i in indices]
        name = f"{run}{'+ranks' if ranked else ''} {','.join(str(row.start) for row in batch)}"
        if name in finished:
            yield batch, _unpacked(finished[name])
            continue
        values = forward(model, batch, ranked)
        if journal:
            journal.append(_packed(name, values))
            journal.records.pop()  # The record is on disk; in memory the journal would grow with the responses.
        yield batch, values


def _packed(name: str, values: Values) -> Json:
    logprobs, ranks = (None if v is None else base64.b64encode(v.tobytes()).decode() for v in values)
    return {"batch": name, "logprobs": logprobs, "ranks": ranks}


def _unpacked(record: Json) -> Values:
    logprobs = np.frombuffer(base64.b64decode(record["logprobs"]), np.float32)
    ranks = record["ranks"]
    return logprobs, None if ranks is None else np.frombuffer(base64.b64decode(ranks), np.int32)
