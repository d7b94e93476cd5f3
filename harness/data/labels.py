"""What columns such as `language` or `source` say of a dataset's rows: how many rows have each value."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

COLUMNS = frozenset({"lang", "language", "languages", "source", "dataset", "category", "task", "task_name", "domain"})
"""Columns whose values are counted, in lower case."""
OTHER = "other values"
_VALUES = 1000
"""Values of a column that are counted one by one; the rows of all further values are counted together."""
_LISTED = 10
"""Values of a column that a record lists; the rows of the others are counted together."""
_LONGEST = 60
"""Characters of a value: a longer one is no label."""


class Labels:
    """Counts rows by their labels; holds at most 1,000 values of a column."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a row."""
        for name, value in row.items():
            if name.lower() in COLUMNS and isinstance(value, str) and 0 < len(value) <= _LONGEST:
                counts = self._counts.setdefault(name, Counter())
                counts[value if value in counts or len(counts) < _VALUES else OTHER] += 1

    @property
    def record(self) -> dict[str, dict[str, int]]:
        """Column -> value -> rows, the commonest first."""
        return {name: _listed(counts) for name, counts in sorted(self._counts.items())}


def _listed(counts: Counter[str]) -> dict[str, int]:
    listed = dict(counts.most_common(_LISTED))
    others = counts.total() - sum(listed.values())
    return listed | ({OTHER: listed.get(OTHER, 0) + others} if others else {})
