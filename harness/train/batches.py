"""Effective batches, cut into micro-batches by length, so that little computation goes into padding.

The seed alone decides which examples an effective batch holds; how the batch is cut and shared among processes changes
only the order in which its loss is summed.
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
        self._examples, self._size, self._seed = examples, batch_size, seed
        self._epoch = 0
        self._cut: tuple[int, list[list[int]]] = (-1, [])
        """An epoch, and its batches."""

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._of(self._epoch))

    def __len__(self) -> int:
        return -(-self._examples // self._size)

    def set_epoch(self, epoch: int) -> None:
        """Order the next pass as this epoch's."""
        self._epoch = epoch

    def at(self, step: int) -> list[int]:
        """The numbers of the examples of a step of the training, counted from 0."""
        epoch, number = divmod(step, len(self))
        return self._of(epoch)[number]

    def _of(self, epoch: int) -> list[list[int]]:
        from accelerate.data_loader import SeedableRandomSampler

        if self._cut[0] != epoch:
            sampler = SeedableRandomSampler(range(self._examples), data_seed=self._seed)
            sampler.set_epoch(epoch)
            order = list(sampler)
            self._cut = epoch, [order[begin : begin + self._size] for begin in range(0, len(order), self._size)]
        return self._cut[1]


@dataclass(frozen=True)
class Cutting:
    """How an effective batch becomes the micro-batches of one process."""

    collate: Callable[[Sequence[Any]], Tensors]
    length: Callable[[Any], int]
    """The tokens of an example."""
    count: Callable[[Any], int]
    """What an example adds to the divisor of the loss: its response tokens, or 1 for a pair."""
    filler: Any
    """An example that adds nothing to the loss, for a process that has a micro-batch less than others."""
    rows: int
    """Examples per micro-batch at most."""
    tokens: int | None = None
    """Tokens per micro-batch at most, padding included; a longer example is alone. None: no such limit."""
    process: int = 0
    processes: int = 1

    def __call__(self, examples: Sequence[Any]) -> dict[str, Any]:
        """This process's `micro_batches` (every process has equally many), and the whole effective batch's `count`."""
        lengths = [self.length(example) for example in examples]
        parts = share(by_length(lengths, rows=self.rows, tokens=self.tokens), self.processes)[self.process]
        micro_batches = [self.collate([examples[i] for i in part] or [self.filler]) for part in parts]
        return {"micro_batches": micro_batches, "count": sum(map(self.count, examples))}


def share(parts: Sequence[list[int]], processes: int) -> list[list[list[int]]]:
    """Each process's parts: they are dealt out in rounds, every second round in reverse; empty parts fill the last.

    `parts` come longest first, so that the parts of a round are of about equal length and no process waits long.
    """
    filled = [*parts, *[[] for _ in range(-len(parts) % processes)]]
    rounds = [filled[begin : begin + processes] for begin in range(0, len(filled), processes)]
    dealt = [parts[::-1] if number % 2 else parts for number, parts in enumerate(rounds)]
    return [[parts[process] for parts in dealt] for process in range(processes)]
