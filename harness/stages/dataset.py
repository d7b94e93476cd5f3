"""Instruction data in one form: a file of the user's, or the pocket world, to `conversations.jsonl`."""

from harness.core.lines import write_json, write_lines
from harness.core.settings import identity, restore
from harness.data.settings import DatasetSettings
from harness.stages.api import Context, Kind, Stage
from harness.stages.pinned import pinned_file

RECORD = "data.json"
"""The file of an artifact that holds the record of what was read (`Dataset.record`)."""


def stage(settings: DatasetSettings, data_seed: int, title: str) -> Stage:
    """The stage that reads, filters and draws a dataset."""
    inputs = {}
    if settings.path is not None:
        inputs["file"] = pinned_file(settings.path)
        if settings.prompts is not None:
            inputs["prompts"] = pinned_file(settings.prompts.path)
    params = {"settings": identity(settings), "data_seed": data_seed}
    return Stage(KIND.name, KIND.version, params, inputs, title=f"data {title}")


def _run(ctx: Context) -> None:
    settings = restore(DatasetSettings, _with_paths(ctx))
    from harness.data.readers import read_dataset, write_conversations

    data = read_dataset(settings, data_seed=ctx.params["data_seed"])
    write_conversations(ctx.out / "conversations.jsonl", data.conversations)
    write_lines(ctx.out / "skipped.jsonl", ({"id": one.id, "reason": one.reason} for one in data.skipped))
    write_json(ctx.out / RECORD, data.record)


def _with_paths(ctx: Context) -> dict[str, object]:
    settings = dict(ctx.params["settings"])
    if "file" in ctx.inputs:
        settings["path"] = str(ctx.inputs["file"])
    if "prompts" in ctx.inputs:
        settings["prompts"] = {**settings["prompts"], "path": str(ctx.inputs["prompts"])}
    return settings


KIND = Kind("dataset", 4, _run)
