"""Batches by length: every sequence once, within the limits, longest first."""

from hypothesis import given
from hypothesis import strategies as st

from harness.models.batching import by_length


@given(st.lists(st.integers(1, 300), max_size=70), st.none() | st.integers(1, 9), st.none() | st.integers(1, 900))
def test_every_example_is_in_one_batch_and_no_batch_is_beyond_its_limits(
    lengths: list[int], rows: int | None, tokens: int | None
) -> None:
    batches = by_length(lengths, rows=rows, tokens=tokens)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[place] for place in batch)
        assert rows is None or len(batch) <= rows
        assert tokens is None or len(batch) == 1 or len(batch) * longest <= tokens
    flat = [lengths[place] for batch in batches for place in batch]
    assert flat == sorted(flat, reverse=True)
