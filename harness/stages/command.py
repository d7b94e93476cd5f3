"""Training by a command of the user's: whatever writes a Hugging Face folder (`model/`), with its log beside it."""

import os
import re
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.guarded import guarded, tail
from harness.core.lines import read_lines, write_json
from harness.core.seeds import derive_seed
from harness.stages.api import Context, Kind, Stage
from harness.stages.model import PlannedModel
from harness.stages.pinned import pinned_file
from harness.train.steps.command import CommandSettings, argv

LOG = "command.log"
_FILE = "file:"
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)


def stage(
    settings: CommandSettings, student: PlannedModel, data: Stage, seed: int, gpus: int, name: str
) -> PlannedModel:
    """The stage in which the command trains `student` on `data`."""
    files = {f"{_FILE}{number}": pinned_file(path) for number, path in enumerate(settings.files)}
    params = {"step": "command", "run": settings.run, "part": student.part, "seed": seed}
    inputs = {"student": student.stage, "data": data, **files}
    made = Stage(KIND.name, KIND.version, params, inputs, gpus=gpus, title=f"command {name}")
    return PlannedModel(made, name, "model")


def _run(ctx: Context) -> None:
    data, out = ctx.inputs["data"] / "conversations.jsonl", ctx.out / "model"
    places = {
        "student": str(ctx.inputs["student"] / ctx.params["part"]),
        "data": str(data),
        "out": str(out),
        "seed": str(derive_seed(ctx.params["seed"], "train") % 2**32),
    }
    words = argv(ctx.params["run"], places)
    hidden = [word for name in os.environ if _SECRET.search(name) for word in ("-u", name)]
    with guarded(["env", *hidden, *words], {}, ctx.out / LOG) as process:
        code = process.wait()
    if code:
        raise HarnessError(f"the command ended with code {code}", where=" ".join(words), fix=tail(ctx.out / LOG))
    _check(out, ctx.out / LOG, " ".join(words))
    rows = sum(1 for _ in read_lines(data))
    write_json(ctx.out / "training.json", {"rows": rows, "skipped": {}})


def _check(folder: Path, log: Path, command: str) -> None:
    """The folder loads as any model does: config, safetensors, tokenizer."""
    from harness.models.load import check_finite, load_model, load_tokenizer

    try:
        load_tokenizer(folder)
        check_finite(load_model(folder, "float32"), str(folder))
    except HarnessError as error:
        what = f"what the command wrote to {{out}} is no model: {error.what}"
        raise HarnessError(what, where=command, fix="\n".join(filter(None, (error.fix, tail(log))))) from error


KIND = Kind("command", 1, _run, bulk=("model",))
