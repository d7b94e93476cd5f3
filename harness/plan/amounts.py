"""How many conversations and tokens a dataset holds: counted where a run has encoded it, else estimated."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.settings import restore
from harness.data.files import records
from harness.data.settings import DatasetSettings
from harness.stages import dataset, mix, pick, respond
from harness.stages.api import Stage
from harness.stages.pinned import files_of, is_absent

_SCANNED = 20_000
"""Records of a file that are looked at; of more, the rest is taken to be alike."""
CHARS_PER_TOKEN = 4
"""For English text, under usual tokenizers."""
_POCKET_TOKENS, _POCKET_LONGEST = 32, 128
ANSWER = 300
"""Tokens assumed of an answer or a response that is not generated yet."""


@dataclass(frozen=True)
class Amount:
    """The size of a dataset."""

    rows: float
    tokens: float
    """Of a conversation, on average."""
    longest: float
    """Tokens of the longest conversation; infinite where nobody knows."""
    note: str = ""
    """What it rests on, where that is an assumption."""


@lru_cache(maxsize=1024)
def amount(data: Stage) -> Amount:
    """The size of a dataset, a mix, or a teacher's responses."""
    match data.kind:
        case dataset.KIND.name:
            return _of_dataset(data)
        case mix.KIND.name:
            parts = [amount(part) for part in data.inputs.values()]
            shares = [share for _, share in data.params["shares"]]
            weights = [1 - sum(shares), *shares]
            tokens = sum(weight * part.tokens for weight, part in zip(weights, parts, strict=True))
            note = next((part.note for part in parts if part.note), "")
            return Amount(data.params["examples"] or parts[0].rows, tokens, max(part.longest for part in parts), note)
        case respond.KIND.name:
            prompts, how = amount(data.inputs["prompts"]), data.params["responses"]
            longest = prompts.longest + how["max_new_tokens"]
            return Amount(prompts.rows * how["candidates"], prompts.tokens + ANSWER, longest, prompts.note)
        case pick.KIND.name:
            answers = data.inputs["candidates"]
            held = amount(answers)
            return Amount(held.rows / answers.params["responses"]["candidates"], held.tokens, held.longest, held.note)
    return Amount(0, 0, 0)


def _of_dataset(data: Stage) -> Amount:
    settings = restore(DatasetSettings, data.execution["settings"])
    if settings.pocket is not None:
        return Amount(settings.pocket.examples, _POCKET_TOKENS, _POCKET_LONGEST)
    held = _unlimited(data, settings)
    return held if settings.limit is None else Amount(min(settings.limit, held.rows), *_rest(held))


def _rest(held: Amount) -> tuple[float, float, str]:
    return held.tokens, held.longest, held.note


def _unlimited(data: Stage, settings: DatasetSettings) -> Amount:
    expected = settings.expect
    note = f"{settings.name} is taken to hold {expected.rows:,} conversations of {expected.tokens:,} tokens"
    assumed = Amount(expected.rows, expected.tokens, float("inf"), note)
    if any(is_absent(file) for file in data.inputs.values()):
        return assumed
    files = files_of({role: leaf.path for role, leaf in data.inputs.items() if leaf.path is not None})
    columns = tuple(sorted(settings.where))
    wanted = tuple(settings.where[column] for column in columns)
    rows, tokens, longest = 0.0, 0.0, 0.0
    try:
        for file in files["file"]:
            scan = scanned(file, columns)
            if wanted in scan.groups:
                count, chars, most = scan.groups[wanted]
                rows += count * scan.scale
                tokens += chars * scan.scale / CHARS_PER_TOKEN
                longest = max(longest, most / CHARS_PER_TOKEN * _DENSE)
    except HarnessError:  # the dataset's own stage says what is wrong with the file
        return assumed
    return Amount(rows, tokens / rows, longest) if rows else assumed


_DENSE = 2
"""How many times more tokens than usual the longest text may have for its characters: code, or other languages."""


@dataclass(frozen=True)
class Scan:
    """The first records of a file."""

    groups: Mapping[tuple[Json, ...], tuple[int, int, int]]
    """Values of some columns -> records, characters of all their texts, characters of the longest record."""
    scale: float
    """All records of the file, by those that were looked at."""


@cache
def scanned(file: Path, columns: tuple[str, ...]) -> Scan:
    """The first records of a file, grouped by the values of these columns."""
    groups: dict[tuple[Json, ...], tuple[int, int, int]] = {}
    seen = 0
    for record in islice(records(file), _SCANNED):
        seen += 1
        values = tuple(record.get(column) for column in columns) if isinstance(record, dict) else ()
        count, chars, most = groups.get(values, (0, 0, 0))
        size = sum(map(len, _texts(record)))
        groups[values] = count + 1, chars + size, max(most, size)
    return Scan(groups, _records(file) / seen if seen == _SCANNED else 1.0)


def _texts(record: Any) -> Iterator[str]:
    """All texts in a record, at every depth."""
    if isinstance(record, str):
        yield record
    elif isinstance(record, Mapping):
        for value in record.values():
            yield from _texts(value)
    elif isinstance(record, Iterable):
        for value in record:
            yield from _texts(value)


def _records(file: Path) -> int:
    """How many records a file has."""
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        return int(pq.ParquetFile(file).metadata.num_rows)
    if file.suffix == ".jsonl":
        with file.open("rb") as lines:
            return sum(block.count(b"\n") for block in iter(lambda: lines.read(1 << 22), b""))
    return sum(1 for _ in records(file))
