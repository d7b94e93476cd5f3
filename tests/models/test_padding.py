"""Batches by length: every sequence once, within the limits, longest first."""

from hypothesis import given
from hypothesis import strategies as st

from harness.models.padding import cut


@given(st.lists(st.integers(1, 300), max_size=70), st.none() | st.integers(1, 9), st.none() | st.integers(1, 1000))
def test_every_sequence_is_in_one_batch_and_no_batch_is_beyond_its_limits(
    lengths: list[int], rows: int | None, tokens: int | None
) -> None:
    batches = cut(lengths, rows, tokens)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[index] for index in batch)
        assert rows is None or len(batch) <= rows
        assert tokens is None or len(batch) == 1 or len(batch) * longest <= tokens
    order = [lengths[index] for batch in batches for index in batch]
    assert order == sorted(order, reverse=True)
