"""The documents of the lm-eval task `pocket_choice`."""

from typing import TYPE_CHECKING, Any

from harness.bench.pocket_formats import multiple_choice

if TYPE_CHECKING:
    from datasets import Dataset


def dataset(*, number: int, seed: int, **_metadata: Any) -> "dict[str, Dataset]":
    """The split `test`: rows {query, choices, gold, category}. lm-eval passes the task's metadata along."""
    from datasets import Dataset

    return {"test": Dataset.from_list(multiple_choice(number, seed))}
