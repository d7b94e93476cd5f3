"""Effective batches and their micro-batches: which examples, how little padding, and the same gradient."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.models.batching import by_length
from harness.train.batches import Cutting, EffectiveBatches, share

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=70)


@given(LENGTHS, st.integers(1, 5))
def test_processes_take_equally_many_parts_and_each_part_once(lengths: list[int], processes: int) -> None:
    parts = by_length(lengths, rows=4)
    shares = share(parts, processes)
    assert len({len(mine) for mine in shares}) == 1
    assert sorted(part for mine in shares for part in mine if part) == sorted(parts)
    assert sum(not part for mine in shares for part in mine) < processes


def test_processes_are_balanced_by_tokens() -> None:
    lengths = [1 + (k * 7919) % 1000 for k in range(128)]
    loads = [sum(lengths[place] for part in mine for place in part) for mine in share(by_length(lengths, rows=8), 2)]
    assert max(loads) < 1.05 * min(loads)


def test_batches_of_an_epoch_hold_every_example_once_in_an_order_of_the_epoch() -> None:
    batches = EffectiveBatches(10, 4, seed=3)
    epochs = []
    for epoch in (0, 1):
        batches.set_epoch(epoch)
        epochs.append(list(batches))
    assert [len(batch) for batch in epochs[0]] == [4, 4, 2]
    assert len(batches) == 3
    assert all(sorted(i for batch in epoch for i in batch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    batches.set_epoch(0)
    assert list(batches) == epochs[0]


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("limit", [{"rows": 3}, {"rows": 16, "tokens": 60}, {"rows": 16}])
def test_the_gradient_is_that_of_the_whole_batch(processes: int, limit: dict[str, int]) -> None:
    """In float64: a mean over all response tokens, whoever has which of them, fillers included."""
    torch.manual_seed(0)
    weight = torch.randn(5, dtype=torch.float64, requires_grad=True)
    examples = [torch.randn(1 + (k * 7) % 20, 5, dtype=torch.float64) for k in range(16)]

    def collate(rows: Any) -> dict[str, torch.Tensor]:
        return {"x": torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)}

    def total(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x @ weight).square().sum()

    want = torch.autograd.grad(total(torch.cat(examples)) / sum(map(len, examples)), weight)[0]
    got = torch.zeros_like(weight)
    numbers = set()
    for process in range(processes):
        cutting = Cutting(
            collate, len, len, torch.zeros(1, 5, dtype=torch.float64), **limit, process=process, processes=processes
        )
        batch = cutting(examples)
        numbers.add(len(batch["micro_batches"]))
        for micro_batch in batch["micro_batches"]:
            got += torch.autograd.grad(total(micro_batch["x"]) / batch["count"], weight)[0]
    assert len(numbers) == 1, "every process takes part in every gradient's exchange"
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)
