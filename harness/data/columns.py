"""Which columns of a data file were used, and which of the others may matter."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.core.errors import HarnessError, printable
from harness.data.schemas import COLUMNS

_CHANGING = COLUMNS | {
    *("message", "turns", "text", "system_message", "chosen", "rejected", "choice", "option", "tool", "function"),
    *("tool_call", "function_call", "image", "audio", "video", "reasoning", "reasoning_content", "thinking", "thought"),
    *("chain_of_thought", "rationale", "document", "passage", "knowledge", "persona", "example", "few_shot"),
    *("weight", "train", "mask", "loss", "loss_mask", "label"),
}
"""Names, without a plural's s, of columns that usually change an example."""
_RESPONSE = re.compile(
    r"(^|_)(response|answer|completion|output|reply|replies|target|solution|chosen|assistant|generation|label|summary)"
    r"(s|es)?(_|$)"
)
_REASONS = 5
"""Reasons that are listed; the others are counted."""


@dataclass(frozen=True)
class ColumnUse:
    """Column -> kept rows with a value in it; a key of a column's turns is written `messages[].name`."""

    used: Mapping[str, int] = field(default_factory=dict)
    unused: Mapping[str, int] = field(default_factory=dict)
    """Without columns that only repeat the conversation."""


def demand(names: Iterable[str], columns: Iterable[str], where: str, what: str) -> None:
    """HarnessError unless all `names` are among a file's `columns`."""
    there = list(columns)
    if absent := [name for name in names if name not in there]:
        fix = f"Columns: {printable(', '.join(there))}."
        raise HarnessError(f"{what}: no column {', '.join(absent)}", where=where, fix=fix)


def changing(unused: Iterable[str]) -> list[str]:
    """The columns that may change the example, judged by their names."""
    return [name for name in unused if _plain(name) in _CHANGING or _plain(name).removesuffix("s") in _CHANGING]


def response_like(unused: Iterable[str]) -> list[str]:
    """The columns that look like a response, judged by their names."""
    return [name for name in unused if _RESPONSE.search(_plain(name))]


def in_words(record: Mapping[str, Any]) -> list[str]:
    """Lines about a dataset's record (`Dataset.record`): skipped rows, columns that were not used."""
    lines = []
    skipped = {k.removeprefix("skipped: "): n for k, n in record.items() if k.startswith("skipped: ")}
    if skipped:
        lines.append(f"{sum(skipped.values()):,} of {record['rows']:,} rows skipped: {_reasons(skipped, record)}")
    unused = record.get("columns_not_used", {})
    kept = record.get("kept", 0)
    answered = record.get("without_response", 0) < kept
    likely = [] if answered else response_like(unused)[:1]
    if likely:
        fix = f"`columns: {{response: {printable(likely[0])}}}`"
        lines.append(f"no row has a response; `{printable(likely[0])}` looks like one: {fix}")
    return lines + [
        f"`{printable(name)}` is not used and may change the example (rows that have it: {unused[name]:,})"
        for name in changing(unused)
        if name not in likely
    ]


def _reasons(skipped: Mapping[str, int], record: Mapping[str, Any]) -> str:
    """The most frequent reasons, with the numbers of the first rows."""
    ordered = sorted(skipped.items(), key=lambda item: -item[1])
    reasons = [f"{printable(reason)} {_rows(n, record['skipped_rows'].get(reason, []))}" for reason, n in ordered]
    more = f"; and {len(reasons) - _REASONS} other reasons" if len(reasons) > _REASONS else ""
    return "; ".join(reasons[:_REASONS]) + more


def _rows(count: int, first: list[int]) -> str:
    if not first:
        return f"({count:,})"
    more = f" and {count - len(first):,} more" if count > len(first) else ""
    return f"(row{'s' * (count > 1)} {', '.join(map(str, first))}{more})"


def _plain(name: str) -> str:
    """The name of a column or of a turn's key in lower case."""
    return name.rpartition("[].")[2].strip().lower()


def check_answered(record: Mapping[str, Any], where: str) -> None:
    """Check a dataset that is trained on or scored, by the record of its reading.

    Raises:
        HarnessError: no row has a response.
    """
    if record["without_response"] == record["kept"]:
        columns = ", ".join(record["columns_not_used"]) or "none"
        fix = " ".join([*(f"{note}." for note in in_words(record)), f"Columns that were not used: {columns}."])
        raise HarnessError("no row has a response, and it is trained on or scored", where=where, fix=fix)
