"""Of several trainings of one step, keep the one with the lowest held-out loss: its files, as hard links."""

import json
from collections.abc import Sequence

from harness.core.canonical import Json
from harness.core.files import link_tree
from harness.core.lines import write_json
from harness.core.settings import identity
from harness.stages.api import Context, Kind, Stage
from harness.stages.model import PlannedModel
from harness.train.settings import SelectSettings


def stage(step: str, settings: SelectSettings, candidates: Sequence[PlannedModel], name: str) -> PlannedModel:
    """The stage that chooses among `candidates`, trained with the settings' learning rates in this order."""
    inputs = {f"candidate:{number}": candidate.stage for number, candidate in enumerate(candidates)}
    params = {"step": step, "select": identity(settings)}
    title = f"select {step} {name}"
    made = Stage(KIND.name, KIND.version, params, inputs, place="driver", light=True, title=title)
    return PlannedModel(made, name, "model")


def first_candidate(made: Stage) -> PlannedModel:
    """The first of the models that a stage chooses among."""
    return PlannedModel(made.inputs["candidate:0"], made.title, "model")


def _run(ctx: Context) -> None:
    rates: list[float] = ctx.params["select"]["learning_rate"]
    folders = [ctx.inputs[f"candidate:{number}"] for number in range(len(rates))]
    trained: list[dict[str, Json]] = [json.loads((folder / "training.json").read_text()) for folder in folders]
    losses = [one["held_out_loss"] for one in trained]
    best = losses.index(min(losses))  # of equal ones the first
    for folder in sorted(p for p in folders[best].iterdir() if p.is_dir()):
        link_tree(folder, ctx.out / folder.name)
    (ctx.out / "log.jsonl").write_text((folders[best] / "log.jsonl").read_text())
    chosen = {"learning_rate": rates[best]}
    candidates = [{"learning_rate": rate, "held_out_loss": loss} for rate, loss in zip(rates, losses, strict=True)]
    write_json(ctx.out / "select.json", {"chosen": chosen, "candidates": candidates})
    write_json(ctx.out / "training.json", trained[best] | {"chosen": chosen, "candidates": candidates})


KIND = Kind("select", 1, _run, bulk=("model", "checkpoint-*"))
