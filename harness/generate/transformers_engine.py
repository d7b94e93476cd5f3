"""The transformers engine: left-padded batches through our own decode loop.

Each row samples from its own generator, so that neither the batch nor the order changes what it draws; a finished row
leaves the batch, and its part of the cache with it.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness.core.errors import Incomplete
from harness.generate import attention
from harness.generate.api import Answer, GenerateSettings, Request
from harness.generate.prompts import Prompt, answer, prepare, room, stop_ids
from harness.models.load import available, caps_attention, load_model, load_tokenizer
from harness.models.memory import ran_out, release


def load(folder: Path, settings: GenerateSettings) -> "TransformersEngine":
    """Load a Hugging Face folder, on the stage's GPUs where it has any."""
    model = load_model(folder, settings.dtype, available())
    if not caps_attention(model):
        model.set_attn_implementation(attention.NAME)
    return TransformersEngine(load_tokenizer(folder), model, settings)


PROMPT_TOKENS = 512
"""Prompt tokens that a row of a batch may have on average, padding included."""


@dataclass
class _Row:
    """One request in progress."""

    prompt: Prompt
    generator: torch.Generator
    tokens: list[int] = field(default_factory=list)
    finish: str = ""


def batch_length(prompts: Sequence[Prompt], size: int) -> int:
    """How many of these prompts, longest first, make the next batch of at most `size`.

    Fewer where they are long, so that one very long prompt does not pad all others: a batch may hold PROMPT_TOKENS
    padded prompt tokens for each of its `size` rows, and always holds one row.
    """
    return max(1, min(size, len(prompts), size * PROMPT_TOKENS // len(prompts[0].ids)))


class TransformersEngine:
    """A model and its tokenizer. Implements `harness.generate.api.Engine`."""

    def __init__(self, tokenizer: Any, model: Any, settings: GenerateSettings) -> None:
        self._tokenizer, self._model, self._batch_size = tokenizer, model, settings.batch_size
        self._stops = stop_ids(tokenizer, model.generation_config)
        self._max_length = room(model.config, settings.max_length)

    def complete(self, requests: Sequence[Request], on_done: Callable[[list[Answer]], None]) -> None:
        """Complete all requests, longest prompts first; `on_done` gets each batch as soon as it is finished.

        A request that does not fit the model fails alone: its text is None and `finish` says why.

        Raises:
            Incomplete: memory is too short for a single request.
        """
        prompts, failed = prepare(self._tokenizer, requests, self._max_length)
        if failed:
            on_done(failed)
        while prompts:
            batch = prompts[: batch_length(prompts, self._batch_size)]
            rows = self._decoded(batch)
            if rows is None:
                self._halve(batch)
                continue
            prompts = prompts[len(batch) :]
            on_done([answer(self._tokenizer, row.prompt, row.tokens, row.finish, self._stops) for row in rows])

    def _halve(self, batch: Sequence[Prompt]) -> None:
        """Smaller batches from now on."""
        if len(batch) == 1:
            what = f"one conversation of {len(batch[0].ids)} + {batch[0].limit} tokens does not fit in memory"
            raise Incomplete(what, where="generate", fix="Free some memory or use another device, and run again.")
        self._batch_size //= 2
        warnings.warn(
            f"out of memory with {len(batch)} conversations at once: going on with batches of {self._batch_size}",
            RuntimeWarning,
            stacklevel=3,
        )

    def _decoded(self, batch: Sequence[Prompt]) -> list[_Row] | None:
        """The finished rows; None where memory ran out."""
        rows = [_Row(prompt, torch.Generator().manual_seed(prompt.request.seed)) for prompt in batch]
        try:
            with torch.inference_mode():
                self._decode(rows)
            return rows
        except RuntimeError as error:
            if not ran_out(error):
                raise
        release()
        return None

    def _decode(self, batch: Sequence[_Row]) -> None:
        """Generate until every row has finished; fills `tokens` and `finish`."""
        from transformers import DynamicCache

        device = self._model.device
        ids, mask = _left_padded([row.prompt.ids for row in batch], device)
        cache = DynamicCache(config=self._model.config)
        rows = list(batch)
        while True:
            positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            logits = self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            chosen = _choose(logits, rows)
            alive = [i for i, running in enumerate(self._extend(rows, chosen.tolist())) if running]
            if not alive:
                return
            ids = chosen[:, None]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            if len(alive) < len(rows):
                keep = torch.tensor(alive)  # on the CPU, because layers of the cache may lie on several devices
                cache.batch_select_indices(keep)
                ids, mask, rows = ids[keep], mask[keep], [rows[i] for i in alive]

    def _extend(self, rows: Sequence[_Row], chosen: Sequence[int]) -> Iterator[bool]:
        """Give each row its next token; yields whether it goes on."""
        for row, token in zip(rows, chosen, strict=True):
            row.tokens.append(token)
            if token in self._stops:
                row.finish = "stop"
            elif len(row.tokens) >= row.prompt.limit:
                row.finish = "length"
            yield not row.finish


def _left_padded(prompts: Sequence[list[int]], device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, (B, L) each, padded on the left (with token 0, which the mask hides)."""
    length = max(len(p) for p in prompts)
    ids = torch.tensor([[0] * (length - len(p)) + p for p in prompts], device=device)
    mask = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts], device=device)
    return ids, mask


def _choose(logits: torch.Tensor, rows: Sequence[_Row]) -> torch.Tensor:
    """The next token of each row, (B,): the likeliest at temperature 0, else drawn by the row's own generator."""
    chosen = logits.argmax(dim=-1)
    for i, row in enumerate(rows):
        if row.prompt.request.temperature > 0:
            chosen[i] = _draw(logits[i], row.prompt.request, row.generator)
    return chosen


def _draw(logits: torch.Tensor, request: Request, generator: torch.Generator) -> torch.Tensor:
    """One token from softmax(logits / temperature), by inverting the cumulative distribution in float64."""
    probabilities = (logits.double() / request.temperature).softmax(dim=-1)
    if request.top_p < 1:
        probabilities = _nucleus(probabilities, request.top_p)
    cumulative = probabilities.cumsum(dim=-1)
    uniform = torch.rand((), generator=generator, dtype=torch.float64).to(logits.device)
    return torch.searchsorted(cumulative, uniform * cumulative[-1], right=True).clamp(max=len(logits) - 1)


def _nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """The fewest likeliest tokens that together reach `top_p` (Holtzman et al., arXiv 1904.09751), the rest 0."""
    ordered, order = probabilities.sort(descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    return probabilities.scatter(-1, order[before >= top_p], 0.0)
