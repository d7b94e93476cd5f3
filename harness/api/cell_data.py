"""What a cell is trained on: as its run encoded it, or a sample that is encoded now."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.api.stored import with_models_of_runs
from harness.core.absent import absent_allowed
from harness.core.errors import HarnessError
from harness.core.plugins import plugged
from harness.core.settings import restore
from harness.data.settings import DatasetSettings
from harness.models.load import quiet
from harness.plan.build import PlannedCell, build
from harness.recipe.load import Recipe
from harness.record.profiles import ProfileRecord, record_of, tokens_read
from harness.stages import dataset, encode, mix, select, train
from harness.stages.api import Session, Stage
from harness.stages.model import BROUGHT
from harness.stages.pinned import is_absent, leaf
from harness.stages.runner import read_order, run_stage, write_orders
from harness.store.store import Store

SAMPLE = 1000
"""Rows of a dataset that are encoded where a recipe has not run."""


@dataclass(frozen=True)
class CellData:
    """What a cell is trained on."""

    cell: str
    steps: tuple[str, ...]
    """A line for each training step: its data, and a mix's shares."""
    encoded: tuple[ProfileRecord, ...]
    """Of the run, which encoded every row."""
    sampled: tuple[ProfileRecord, ...]
    """Encoded now: at most SAMPLE rows, drawn at random."""
    missing: tuple[str, ...]
    """A sentence for each dataset that cannot be shown yet."""


def cell_data(recipe: Recipe, cell: str, results: Path) -> CellData:
    """What the first cell that is trained and whose name matches the glob `cell` is trained on. Downloads nothing.

    Raises:
        HarnessError: no cell matches, or none of them is trained by the harness.
    """
    store = Store(results / "store")
    with plugged(recipe.plugins):
        with absent_allowed():
            cells = build(with_models_of_runs(recipe, results), only=cell).cells
        planned, trainings = next(((c, made) for c in cells if (made := _trainings(c))), (None, []))
        if planned is None:
            raise HarnessError("no cell of this name is trained", where=cell, fix="A baseline is not trained.")
        tokens = list({one.id: one for made in trainings for one in tokens_read(made)}.values())
        encoded, sampled, missing = [], [], []
        for one in tokens:
            try:
                if store.has(one.id):
                    encoded.append(record_of(one, store.path(one.id), [planned.name], _labels(one, store)))
                else:
                    sampled.append(_sampled(one, planned.name, store))
            except HarnessError as error:
                missing.append(str(error))
    steps = [f"{number} {made.params['step']}: {_data(made)}" for number, made in enumerate(trainings, 1)]
    return CellData(planned.name, tuple(steps), tuple(encoded), tuple(sampled), tuple(missing))


def _trainings(cell: PlannedCell) -> list[Stage]:
    """The cell's trainings, of several candidates the first; commands train by themselves."""
    made = [model.stage for model in cell.trained]
    made = [select.first_candidate(one).stage if one.kind == select.KIND.name else one for one in made]
    return [one for one in made if one.kind == train.KIND.name]


def _data(training: Stage) -> str:
    data = train.data_of(training)
    if data.kind != mix.KIND.name:
        return data.title
    shares: list[tuple[str, float]] = data.params["shares"]
    general = 1 - sum(share for _, share in shares)
    parts = ", ".join(f"{name} {share:.1%}" for name, share in [("general", general), *shares])
    examples = data.params["examples"]
    return f"mix of {parts}; {f'{examples:,}' if examples is not None else 'as many as general has'} examples"


def _labels(tokens: Stage, store: Store) -> dict[str, dict[str, int]]:
    """What the dataset's own record says of its columns; nothing of a teacher's responses."""
    path = store.path(tokens.inputs["data"].id) / dataset.RECORD
    labels: dict[str, dict[str, int]] = json.loads(path.read_text())["labels"] if path.exists() else {}
    return labels


def _sampled(tokens: Stage, cell: str, store: Store) -> ProfileRecord:
    """Encode a sample of a dataset in a store of its own, which goes at the end."""
    tokenizer, data = (_here(tokens.inputs[role], store) for role in ("tokenizer", "data"))
    made = encode.stage(tokenizer, tokens.params["part"], data, tokens.params["max_length"])
    with tempfile.TemporaryDirectory() as folder:
        scratch, session = Store(Path(folder)), Session()
        stages = [stage for stage in made.walk() if not stage.is_leaf]
        write_orders(scratch, stages)
        with quiet():
            for stage in stages:
                run_stage(scratch, read_order(scratch, stage.id), session, lambda *_, **__: None)
        session.close()
        return record_of(tokens, scratch.path(made.id), [cell], _labels(made, scratch))


def _here(stage: Stage, store: Store) -> Stage:
    """A stage whose output can be had at once: of a dataset a sample, of anything else what is there.

    Raises:
        HarnessError: only a run makes it.
    """
    if any(is_absent(one) for one in stage.walk() if one.is_leaf):
        raise HarnessError("is not on this machine yet", where=stage.title, fix="A run of the recipe downloads it.")
    if stage.kind == dataset.KIND.name:
        settings = restore(DatasetSettings, stage.execution["settings"])
        limit = min(SAMPLE, settings.limit or SAMPLE)
        return dataset.stage(settings.model_copy(update={"limit": limit}), stage.params["data_seed"], stage.title)
    if not stage.is_leaf and store.whole(stage.id):
        return leaf(stage.id, store.path(stage.id), stage.title)
    if stage.is_leaf or stage.kind in BROUGHT:
        return stage
    raise HarnessError("is not made yet", where=stage.title, fix="A run of the recipe makes it; then it can be shown.")
