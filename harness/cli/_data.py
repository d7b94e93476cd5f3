"""What commands say of data files: which columns were read, which rows were not, the first conversation."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from harness.api.cell_data import CellData
    from harness.data.conversations import Conversation
    from harness.recipe.datasets import NamedData
    from harness.record.profiles import ProfileRecord

_WIDTH = 80
"""Columns of a line of facts."""


@dataclass(frozen=True)
class Looked:
    """A data file that was read whole."""

    name: str
    title: str
    """The name with the file's."""
    record: dict[str, Any]
    first: "Conversation | None"
    notes: list[str]
    """What is to be known of it: skipped rows, columns that were not used, a response by another name."""


def look(data: "NamedData") -> Looked:
    """Read a dataset as a run would. Raises HarnessError where a run would, or would find no response to learn."""
    from harness.data.columns import check_answered, in_words
    from harness.data.readers import read_dataset, read_texts

    path = data.settings.path
    title = f"{data.name} ({data.settings.name if path is None else path.name})"
    if data.text:
        record = read_texts(data.settings, data.text).record
        return Looked(data.name, title, record, None, in_words(record))
    read = read_dataset(data.settings, data.data_seed)
    record, notes = read.record, in_words(read.record)
    if data.answered:
        check_answered(record, f"{data.name}: {data.settings.name}")
    return Looked(data.name, title, record, read.conversations[0], notes)


def looked(every: "list[NamedData]") -> Iterator[Looked | HarnessError]:
    """Each as `look` finds it, faults with the others."""
    for data in every:
        try:
            yield look(data)
        except HarnessError as error:
            yield error


def cell_in_lines(data: "CellData") -> Iterator[str]:
    """What a cell is trained on, for a terminal of 80 columns."""
    from harness.api.cell_data import SAMPLE
    from harness.core.errors import printable

    yield f"cell {printable(data.cell)}"
    yield from (f"  {printable(step)}" for step in data.steps)
    for record in data.encoded:
        yield from _profile(record, "as its run encoded it")
    for record in data.sampled:
        yield from _profile(record, f"not run yet: at most {SAMPLE:,} rows, drawn at random and encoded now")


def _profile(record: "ProfileRecord", how: str) -> Iterator[str]:
    from harness.core.errors import printable
    from harness.data.show_profile import bars, facts, heading, marked

    yield from ("", f"== {printable(record.dataset)}", f"tokens of {printable(record.tokenizer)}", how, "")
    for name, value in facts(record.profile, record.labels):
        yield textwrap.fill(f"{name}: {value}", _WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    for name, spread in (("prompt", record.profile.prompt), ("response", record.profile.response)):
        yield from ("", f"tokens of a {name}, conversations", *bars(spread))
    for shown in record.profile.examples:
        yield from ("", f"-- {heading(shown)}", marked(shown).rstrip("\n"))
