"""A data file as the readers see it, for the terminal: its columns, its rows, and its first conversation."""

from collections.abc import Iterator, Mapping
from typing import Any

from harness.core.errors import printable
from harness.data.columns import changing
from harness.data.conversations import Conversation

COLUMNS = ("data", "part", "name", "rows", "note")
"""Columns of `table`."""
_SHOWN = 160
"""Characters of a turn in a line."""


def table(name: str, record: Mapping[str, Any], first: Conversation | None) -> Iterator[dict[str, Any]]:
    """Rows of COLUMNS: `rows` (read, kept, skipped by reason), `column`s, and `turn`s of the first conversation."""

    def row(part: str, what: str, rows: int | None, note: str = "") -> dict[str, Any]:
        return dict(zip(COLUMNS, (name, part, what, rows, note), strict=True))

    yield row("rows", "in the file", record["rows"])
    if record["matched"] != record["rows"]:
        yield row("rows", "matched", record["matched"])
    yield row("rows", "kept", record["kept"])
    for key, count in sorted(record.items()):
        if key.startswith("skipped: "):
            numbers = record["skipped_rows"].get(key.removeprefix("skipped: "), [])
            more = ", ..." if count > len(numbers) > 0 else ""
            yield row(
                "rows", key, count, f"row{'s' * (count > 1)} {', '.join(map(str, numbers))}{more}" if numbers else ""
            )
    if record["without_response"]:
        yield row("rows", "without a response", record["without_response"])
    for column, count in record["columns_used"].items():
        yield row("column", column, count, "used")
    suspect = changing(record["columns_not_used"])
    for column, count in record["columns_not_used"].items():
        yield row("column", column, count, "not used; it may change the example" if column in suspect else "not used")
    for message in first.messages if first else []:
        yield row("turn", _role(message), None, message["content"])


def in_lines(record: Mapping[str, Any], first: Conversation | None) -> Iterator[str]:
    """A few lines: rows kept, columns used and not used, the first conversation."""
    yield f"{record['kept']:,} of {record['rows']:,} rows kept"
    for title, columns in (("used", record["columns_used"]), ("not used", record["columns_not_used"])):
        if columns:
            yield f"{title}: {printable(', '.join(columns))}"
    for message in first.messages if first else []:
        yield f"{_role(message)}: {clipped(message['content'])}"


def clipped(text: str) -> str:
    """The beginning of a text, in a line."""
    return printable(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}...")


def _role(message: Mapping[str, Any]) -> str:
    """The role of a message, and whether it is learned."""
    if message["role"] != "assistant":
        return str(message["role"])
    return "assistant (trained on)" if message.get("train", True) else "assistant (read only)"
