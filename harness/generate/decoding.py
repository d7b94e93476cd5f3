"""Batches of token sequences that a transformers model continues: our own decode loop.

Each row draws from its own seed, so that neither the batch nor the order changes what it draws; a finished row leaves
the batch, and its part of the cache with it. `generate` offers neither.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch

PROMPT_TOKENS = 512
"""Prompt tokens that a row of a batch may have on average, padding included."""


@dataclass
class Row:
    """A sequence that is being continued."""

    ids: Sequence[int]
    limit: int
    """The most tokens that it may get, at least 1."""
    temperature: float
    """0 takes the likeliest token."""
    seed: int
    top_p: float = 1.0
    tokens: list[int] = field(default_factory=list)
    """What it has got so far, the token that ended it included."""
    finish: str = ""
    """`stop` where a token ended it, `length` at its limit; empty while it goes on."""

    @cached_property
    def generator(self) -> torch.Generator:
        """What it draws with."""
        return torch.Generator().manual_seed(self.seed)


R = TypeVar("R", bound=Row)
Watch = Callable[[Sequence[R], torch.Tensor, torch.Tensor], None]
"""watch(rows, logits, chosen): rows that got a token each, the logits (B, V) that it was chosen by, the tokens (B,)."""


def batch_length(longest: int, size: int) -> int:
    """How many rows, the first of them the one with the `longest` prompt, make a batch of at most `size`.

    Fewer where they are long, so that one very long prompt does not pad all others: a batch may hold PROMPT_TOKENS
    padded prompt tokens for each of its `size` rows, and always holds one row.
    """
    return max(1, min(size, size * PROMPT_TOKENS // longest))


def decode(model: Any, batch: Sequence[R], stops: Collection[int], watch: Watch[R] | None = None) -> None:
    """Continue all rows at once until each has finished; fills their `tokens` and `finish`."""
    from transformers import DynamicCache

    ids, mask = _left_padded([row.ids for row in batch], model.device)
    cache = DynamicCache(config=model.config)
    rows = list(batch)
    while True:
        positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        chosen = choose(logits, rows)
        if watch is not None:
            watch(rows, logits, chosen)
        alive = [i for i, running in enumerate(_extend(rows, chosen.tolist(), stops)) if running]
        if not alive:
            return
        ids = chosen[:, None]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        if len(alive) < len(rows):
            keep = torch.tensor(alive)  # on the CPU, because layers of the cache may lie on several devices
            cache.batch_select_indices(keep)
            ids, mask, rows = ids[keep], mask[keep], [rows[i] for i in alive]


def _extend(rows: Sequence[Row], chosen: Sequence[int], stops: Collection[int]) -> Iterator[bool]:
    """Give each row its next token; yields whether it goes on."""
    for row, token in zip(rows, chosen, strict=True):
        row.tokens.append(token)
        if token in stops:
            row.finish = "stop"
        elif len(row.tokens) >= row.limit:
            row.finish = "length"
        yield not row.finish


def _left_padded(prompts: Sequence[Sequence[int]], device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, (B, L) each, padded on the left (with token 0, which the mask hides)."""
    length = max(len(p) for p in prompts)
    ids = torch.tensor([[0] * (length - len(p)) + list(p) for p in prompts], device=device)
    mask = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts], device=device)
    return ids, mask


def choose(logits: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
    """The next token of each row, (B,): the likeliest at temperature 0, else drawn by the row's generator."""
    chosen = logits.argmax(dim=-1)
    drawing = [i for i, row in enumerate(rows) if row.temperature > 0]
    if drawing:
        chosen[drawing] = _drawn(logits[drawing], [rows[i] for i in drawing])
    return chosen


def _drawn(logits: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
    """A token of each row from softmax(logits / temperature), by inverting the cumulative distribution in float64."""
    device = logits.device
    temperatures = torch.tensor([[row.temperature] for row in rows], dtype=torch.float64, device=device)
    probabilities = (logits.double() / temperatures).softmax(dim=-1)
    if any(row.top_p < 1 for row in rows):
        probabilities = _nucleus(
            probabilities, torch.tensor([[r.top_p] for r in rows], dtype=torch.float64, device=device)
        )
    cumulative = probabilities.cumsum(dim=-1)
    uniform = torch.stack([torch.rand(1, generator=row.generator, dtype=torch.float64) for row in rows]).to(device)
    places = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
    return places.squeeze(-1).clamp(max=logits.shape[-1] - 1)


def _nucleus(probabilities: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """The fewest likeliest tokens that together reach `top_p` (B, 1), the rest 0 (Holtzman et al., arXiv 1904.09751).

    A row whose `top_p` is 1 keeps all tokens.
    """
    ordered, order = probabilities.sort(descending=True)
    beyond = (ordered.cumsum(dim=-1) - ordered >= top_p) & (top_p < 1)
    return probabilities.scatter(-1, order, ordered.masked_fill(beyond, 0.0))
