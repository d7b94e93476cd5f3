"""Effective batches, cut into micro-batches by length, so that little of what is computed is padding.

Which examples an effective batch holds depends on the seed alone; how it is cut and shared among processes changes
the order of its sum, and nothing else.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from harness.models.batching import by_length

Tensors = dict[str, torch.Tensor]


class EffectiveBatches(torch.utils.data.Sampler[list[int]]):  # type: ignore[misc]
    """The numbers of the examples of each effective batch of an epoch, the same in every process."""

    def __init__(self, examples: int, batch_size: int, seed: int) -> None:
        from accelerate.data_loader import SeedableRandomSampler

        self._examples, self._size = examples, batch_size
        self._order = SeedableRandomSampler(range(examples), data_seed=seed)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self._order)
        return (order[begin : begin + self._size] for begin in range(0, len(order), self._size))

    def __len__(self) -> int:
        return -(-self._examples // self._size)

    def set_epoch(self, epoch: int) -> None:
        """The next order is that of this epoch."""
        self._order.set_epoch(epoch)


@dataclass(frozen=True)
class Cutting:
    """How an effective batch becomes the micro-batches of one process."""

    collate: Callable[[Sequence[Any]], Tensors]
    length: Callable[[Any], int]
    """The tokens of an example."""
    count: Callable[[Any], int]
    """What an example adds to what the loss is divided by: its response tokens, or one pair."""
    filler: Any
    """An example that adds nothing to the loss, for a process that has a micro-batch less than others."""
    rows: int
    """Examples of a micro-batch at most."""
    tokens: int | None = None
    """Tokens of a micro-batch at most, padding included; an example that is longer is alone. None: no such limit."""
    process: int = 0
    processes: int = 1

    def __call__(self, examples: Sequence[Any]) -> dict[str, Any]:
        """`micro_batches` of this process, equally many in all, and the `count` of the whole effective batch."""
        lengths = [self.length(example) for example in examples]
        parts = share(by_length(lengths, rows=self.rows, tokens=self.tokens), self.processes)[self.process]
        micro_batches = [self.collate([examples[i] for i in part] or [self.filler]) for part in parts]
        return {"micro_batches": micro_batches, "count": sum(map(self.count, examples))}


def share(parts: Sequence[list[int]], processes: int) -> list[list[list[int]]]:
    """The parts of each process, in rounds of about equal lengths that turn about; empty ones fill up the last round.

    `parts` are in falling order of their lengths, so that what waits at the end of a round waits for little.
    """
    filled = [*parts, *[[] for _ in range(-len(parts) % processes)]]
    rounds = [filled[begin : begin + processes] for begin in range(0, len(filled), processes)]
    turned = [one[::-1] if number % 2 else one for number, one in enumerate(rounds)]
    return [[one[process] for one in turned] for process in range(processes)]
