"""What the models of a run were trained on: a profile of each dataset, as each tokenizer and length encodes it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.canonical import Json
from harness.core.lines import read_json, write_atomically
from harness.data.profile import Profile
from harness.plan.build import Plan
from harness.record.contamination import named
from harness.record.run import AGAIN, as_json, as_text, typed
from harness.stages import dataset, encode, train
from harness.stages.api import Stage
from harness.store.store import Store

FILE = "profiles.json"
"""In the run folder; a run that trained nothing, or an older one, has none."""


@dataclass(frozen=True)
class ProfileRecord:
    """A dataset that models were trained on."""

    dataset: str
    tokenizer: str
    """Whose tokens and template these are."""
    cells: tuple[str, ...]
    """Those that learned from it, or from a model that did."""
    labels: Mapping[str, Mapping[str, int]]
    """Column -> value -> rows, of columns such as `language` (`data.labels`)."""
    profile: Profile


def profiles(plan: Plan, store: Store) -> list[ProfileRecord]:
    """One per dataset, tokenizer and length whose tokens are stored, in the plan's order."""
    cells: dict[str, list[str]] = {}
    for cell in plan.cells:
        for tokens in tokens_of(cell.model.stage):
            cells.setdefault(tokens.id, []).append(cell.name)
    found = ((plan.stages[i], names) for i, names in cells.items() if store.has(i))
    return [_record(tokens, names, store) for tokens, names in found]


def tokens_of(model: Stage) -> list[Stage]:
    """The stored tokens that a model's trainings read, and those of every model that it was made from or taught by."""
    trainings = (stage for stage in model.walk() if stage.kind == train.KIND.name)
    return list({tokens.id: tokens for made in trainings for tokens in tokens_read(made)}.values())


def tokens_read(training: Stage) -> list[Stage]:
    """The stored tokens that a training reads: one dataset's, or a mix's general ones and those of each domain."""
    return [given for given in training.inputs.values() if given.kind == encode.KIND.name]


def _record(tokens: Stage, cells: list[str], store: Store) -> ProfileRecord:
    data = tokens.inputs["data"]
    labels: Mapping[str, Mapping[str, int]] = {}
    if data.kind == dataset.KIND.name and store.has(data.id):
        labels = json.loads((store.path(data.id) / dataset.RECORD).read_text())["labels"]
    return record_of(tokens, store.path(tokens.id), cells, labels)


def record_of(
    tokens: Stage, folder: Path, cells: Sequence[str], labels: Mapping[str, Mapping[str, int]]
) -> ProfileRecord:
    """The record of a stage whose output is in a folder."""
    path = folder / encode.PROFILE
    model = tokens.inputs["tokenizer"].title.removeprefix("build ").removeprefix("import ")
    profile = typed(Profile, read_json(path, AGAIN), str(path))
    return ProfileRecord(named(tokens.inputs["data"]), model, tuple(cells), labels, profile)


def write_profiles(folder: Path, records: list[ProfileRecord]) -> None:
    """Write the run folder's file; none where nothing was trained."""
    path = folder / FILE
    path.unlink(missing_ok=True)
    if records:
        write_atomically(path, as_text([as_json(record) for record in records]))


def read_profiles(folder: Path) -> tuple[ProfileRecord, ...]:
    """What `write_profiles` wrote.

    Raises:
        HarnessError: it does not fit; names the file and the key.
    """
    path = folder / FILE
    found: Json = read_json(path, AGAIN) if path.exists() else []
    return typed(tuple[ProfileRecord, ...], found, str(path))
