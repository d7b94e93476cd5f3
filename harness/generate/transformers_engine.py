"""The transformers engine: left-padded batches through our own decode loop.

Each row samples from its own generator, so that neither the batch nor the order changes what it draws; a finished row
leaves the batch, and its part of the cache with it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness.core.errors import HarnessError
from harness.generate import attention
from harness.generate.api import Completion, GenerateSettings, Request
from harness.models.chat import encode_prompt, end_of_turn_ids
from harness.models.load import load_model, load_tokenizer


def load(folder: Path, settings: GenerateSettings) -> "TransformersEngine":
    """Load a Hugging Face folder, on the GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(folder, settings.dtype, device)
    model.set_attn_implementation(attention.NAME)
    return TransformersEngine(load_tokenizer(folder), model, settings)


PROMPT_TOKENS = 512
"""Prompt tokens that a row of a batch may have on average, padding included."""


@dataclass
class _Row:
    """One request in progress."""

    request: Request
    prompt: list[int]
    limit: int
    """How many tokens it may still generate, from the start."""
    generator: torch.Generator
    tokens: list[int] = field(default_factory=list)
    finish: str = ""


def batches(rows: Sequence[_Row], size: int) -> Iterator[list[_Row]]:
    """At most `size` rows each, fewer where their prompts are long: one very long prompt does not pad all others.

    A batch may hold PROMPT_TOKENS padded prompt tokens for each of its `size` rows, and always holds one row. Rows are
    in order of falling length.
    """
    batch: list[_Row] = []
    for row in rows:
        if batch and (len(batch) == size or (len(batch) + 1) * len(batch[0].prompt) > size * PROMPT_TOKENS):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


class TransformersEngine:
    """A model and its tokenizer. Implements `harness.generate.api.Engine`."""

    def __init__(self, tokenizer: Any, model: Any, settings: GenerateSettings) -> None:
        self._tokenizer, self._model, self._settings = tokenizer, model, settings
        self._stops = _stop_ids(tokenizer, model)
        own_limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self._max_length = min(settings.max_length, own_limit or settings.max_length)

    def complete(self, requests: Sequence[Request], on_done: Callable[[list[Completion]], None]) -> None:
        """Complete all requests, longest prompts first; `on_done` gets each batch as soon as it is finished.

        A request that does not fit the model fails alone: its text is None and `finish` says why.
        """
        rows, failed = [], []
        for request in requests:
            prompt = encode_prompt(self._tokenizer, request.messages)
            room = self._max_length - len(prompt)
            if room < 1:
                finish = f"error: the prompt has {len(prompt)} tokens, the limit is {self._max_length}"
                failed.append(Completion(request.key, None, finish, len(prompt), 0))
                continue
            generator = torch.Generator().manual_seed(request.seed)
            rows.append(_Row(request, prompt, min(request.max_new_tokens, room), generator))
        if failed:
            on_done(failed)
        rows.sort(key=lambda row: (-len(row.prompt), row.request.key))
        for batch in batches(rows, self._settings.batch_size):
            with torch.inference_mode():
                self._decode(batch)
            on_done([self._completion(row) for row in batch])

    def _completion(self, row: _Row) -> Completion:
        text = self._tokenizer.decode(row.tokens, skip_special_tokens=True)
        return Completion(row.request.key, text, row.finish, len(row.prompt), len(row.tokens))

    def _decode(self, batch: Sequence[_Row]) -> None:
        """Generate until every row has finished; fills `tokens` and `finish`."""
        from transformers import DynamicCache

        device = self._model.device
        ids, mask = _left_padded([row.prompt for row in batch], device)
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
                keep = torch.tensor(alive, device=device)
                cache.batch_select_indices(keep)
                ids, mask, rows = ids[keep], mask[keep], [rows[i] for i in alive]

    def _extend(self, rows: Sequence[_Row], chosen: Sequence[int]) -> Iterator[bool]:
        """Give each row its next token; yields whether it goes on."""
        for row, token in zip(rows, chosen, strict=True):
            row.tokens.append(token)
            if token in self._stops:
                row.finish = "stop"
            elif len(row.tokens) >= row.limit:
                row.finish = "length"
            yield not row.finish


def _stop_ids(tokenizer: Any, model: Any) -> frozenset[int]:
    """What ends an answer: the generation config's end tokens and the chat template's end of turn."""
    configured = model.generation_config.eos_token_id if model.generation_config else None
    listed = configured if isinstance(configured, list) else [configured] if configured is not None else []
    stops = frozenset([*listed, *end_of_turn_ids(tokenizer)])
    if not stops:
        raise HarnessError("the model names no end token", where=str(tokenizer.name_or_path))
    return stops


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
        if row.request.temperature > 0:
            chosen[i] = _draw(logits[i], row.request, row.generator)
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
