"""Instruction data in one form: a file of the user's, or the pocket world, to `conversations.jsonl`."""

from harness.core.lines import write_json, write_lines
from harness.core.settings import identity, restore
from harness.data.hub import source_files
from harness.data.settings import DatasetSettings
from harness.stages.api import Context, Kind, Stage
from harness.stages.pinned import files_of, pinned_files

RECORD = "data.json"
"""The file of an artifact that holds the record of what was read (`Dataset.record`)."""


def stage(settings: DatasetSettings, data_seed: int, title: str) -> Stage:
    """The stage that reads, filters and draws a dataset; its files are downloaded and pinned here."""
    inputs = pinned_files(lambda: source_files(settings))
    params = {"settings": identity(settings), "data_seed": data_seed}
    execution = {"settings": settings.model_dump(mode="json")}
    return Stage(KIND.name, KIND.version, params, inputs, execution, title=f"data {title}")


def _run(ctx: Context) -> None:
    from harness.data.readers import write_dataset

    settings = restore(DatasetSettings, ctx.execution["settings"])
    data = write_dataset(settings, ctx.params["data_seed"], ctx.out / "conversations.jsonl", files_of(ctx.inputs))
    write_lines(ctx.out / "skipped.jsonl", ({"id": one.id, "reason": one.reason} for one in data.skipped))
    write_json(ctx.out / RECORD, data.record)


KIND = Kind("dataset", 4, _run)
