"""What commands say of data files: which columns were read, which rows were not, the first conversation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from harness.data.conversations import Conversation
    from harness.recipe.datasets import NamedData


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
    from harness.data.columns import in_words
    from harness.data.readers import read_dataset, read_texts

    path = data.settings.path
    title = f"{data.name} ({data.settings.name if path is None else path.name})"
    if data.text:
        record = read_texts(data.settings, data.text).record
        return Looked(data.name, title, record, None, in_words(record))
    read = read_dataset(data.settings, data.data_seed)
    record, notes = read.record, in_words(read.record)
    if data.answered and record["without_response"] == record["kept"]:
        columns = ", ".join(record["columns_not_used"]) or "none"
        fix = " ".join([*(f"{note}." for note in notes), f"Columns that were not used: {columns}."])
        where = f"{data.name}: {data.settings.name}"
        raise HarnessError("no row has a response, and it is trained on or scored", where=where, fix=fix)
    return Looked(data.name, title, record, read.conversations[0], notes)


def looked(every: "list[NamedData]") -> Iterator[Looked | HarnessError]:
    """Each as `look` finds it, faults with the others."""
    for data in every:
        try:
            yield look(data)
        except HarnessError as error:
            yield error
