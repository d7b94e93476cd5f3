"""Rows that are joined to those of a dataset by a key: the prompts of recorded responses."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.data.columns import demand
from harness.data.files import Row, records
from harness.data.settings import JoinedPrompts


class Prompts:
    """The rows to join, in a temporary database of SQLite's that holds on disk what memory has no room for.

    Raises HarnessError where no row has the key, or two have the same value of it.
    """

    def __init__(self, joined: JoinedPrompts, files: Sequence[Path]) -> None:
        self._on, columns = joined.on, dict[str, None]()
        self._rows = sqlite3.connect("")
        self._rows.execute("CREATE TABLE prompts (key TEXT PRIMARY KEY, row TEXT) WITHOUT ROWID")
        for row in (row for file in files for row in records(file) if isinstance(row, dict)):
            columns |= dict.fromkeys(row)
            key = _comparable(row.get(joined.on))
            if key is not None:
                try:
                    self._rows.execute("INSERT INTO prompts VALUES (?, ?)", (key, json.dumps(row, default=str)))
                except sqlite3.IntegrityError:
                    what = f"values of {joined.on!r} occur more than once"
                    raise HarnessError(what, where=joined.name) from None
        demand([joined.on], columns, joined.name, "cannot join prompts")

    def with_prompt(self, row: Any) -> Row | None:
        """The row with the columns of its prompt, its own going first; None where it has none."""
        key = _comparable(row.get(self._on)) if isinstance(row, dict) else None
        found = self._rows.execute("SELECT row FROM prompts WHERE key = ?", (key,)).fetchone()
        return None if found is None else json.loads(found[0]) | row


def _comparable(key: Any) -> str | None:
    """A text that is equal for equal keys (1 and 1.0 are equal, 1 and "1" are not); None for what is no key."""
    if isinstance(key, float) and key.is_integer():
        key = int(key)
    return repr(key if isinstance(key, str) else key + 0) if isinstance(key, str | int | float) else None
