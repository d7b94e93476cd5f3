"""One training step: a model and conversations to a tuned Hugging Face folder (`model/`), its curve and its counts."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from harness.core.canonical import Json
from harness.core.seeds import derive_seed
from harness.core.settings import identity
from harness.stages.api import Context, Kind, Progress, Stage
from harness.stages.model import Weights
from harness.store.store import Store
from harness.train.api import steps
from harness.train.settings import HeldOut, Processes, StepSettings

_TEACHER, _TARGETS = "teacher:", "targets:"
_SETTINGS = ("save_every", "gradient_checkpointing", "report_to")
"""Settings of the step that change no result."""

_ALONE = Processes()

Stored = Mapping[tuple[str, str | None], Stage]
"""Stored targets by the role of who predicted them and the domain of the conversations (None: general ones)."""


def stage(
    step: str,
    settings: StepSettings,
    student: Weights,
    data: Stage,
    teachers: Mapping[str, Weights],
    seed: int,
    gpus: int,
    name: str,
    stored: Stored = MappingProxyType({}),
    *,
    domains: Sequence[str] = (),
    checkpoints: Sequence[float] = (1.0,),
    held_out: HeldOut | None = None,
    processes: Processes = _ALONE,
) -> Weights:
    """The stage of one step for the cell `name`; `teachers` by role, where its loss asks for their logits.

    `stored` are logits that were stored earlier; `domains` those that a mix of conversations is made of.
    """
    inputs = {"student": student.stage, "data": data} | {_TEACHER + r: w.stage for r, w in teachers.items()}
    inputs |= {f"{_TARGETS}{role}:{domain or ''}": made for (role, domain), made in stored.items()}
    parts = {"student": student.part} | {_TEACHER + role: teacher.part for role, teacher in teachers.items()}
    params = {
        "step": step,
        "settings": identity(settings),
        "seed": seed,
        "parts": parts,
        "domains": list(domains),
        "checkpoints": list(checkpoints),
        "held_out": vars(held_out) if held_out else None,
    }
    execution = {name: getattr(settings, name) for name in _SETTINGS}
    title = f"{step} {name}"
    placed = {"processes": processes.processes, "sharding": processes.sharding, "run_name": title}
    made = Stage(KIND.name, KIND.version, params, inputs, execution | placed, gpus=gpus, title=title)
    return Weights(made, name, "model")


def _run(ctx: Context) -> None:
    if ctx.execution["processes"] > 1:
        from harness.stages.processes import train_in_processes

        train_in_processes(ctx)
    else:
        events = event_folder(ctx.store, ctx.id, ctx.execution)
        train_here(ctx.params, ctx.execution, ctx.inputs, ctx.out, ctx.work, events, ctx.progress)


def event_folder(store: Store, stage_id: str, execution: Mapping[str, Json]) -> Path:
    """Where TensorBoard looks for this training's curve."""
    name = re.sub(r"[^\w.=,+-]+", "-", execution["run_name"])
    return store.root / "logs" / "tensorboard" / f"{name}-{stage_id[:8]}"


def train_here(
    params: Mapping[str, Json],
    execution: Mapping[str, Json],
    inputs: Mapping[str, Path],
    out: Path,
    work: Path,
    events: Path,
    progress: Progress,
) -> None:
    """Run a train stage in this process, which may be one of several."""
    from harness.train.reporters import reporters
    from harness.train.run import train

    step = steps()[params["step"]]
    own = {name: execution[name] for name in _SETTINGS}
    settings = step.settings.model_validate_json(json.dumps(params["settings"] | own), by_name=True)
    assert isinstance(settings, StepSettings), "a step of ours"
    folders = {role: inputs[role] / part for role, part in params["parts"].items()}
    train(
        folders["student"],
        inputs["data"] / "conversations.jsonl",
        step,
        settings,
        out=out,
        work=work,
        seed=derive_seed(params["seed"], "train"),
        progress=progress,
        teachers={r.removeprefix(_TEACHER): folder for r, folder in folders.items() if r.startswith(_TEACHER)},
        stored=_stored(inputs),
        domains=params["domains"],
        checkpoints=params["checkpoints"],
        held_out=HeldOut(**params["held_out"]) if params["held_out"] else None,
        sharding=execution["sharding"],
        reporters=reporters(settings.report_to, events),
        run_name=execution["run_name"],
    )


def _stored(inputs: Mapping[str, Path]) -> dict[str, dict[str | None, Path]]:
    found: dict[str, dict[str | None, Path]] = {}
    for name, folder in inputs.items():
        if name.startswith(_TARGETS):
            role, _, domain = name.removeprefix(_TARGETS).partition(":")
            found.setdefault(role, {})[domain or None] = folder
    return found


KIND = Kind("train", 4, _run, bulk=("model", "checkpoint-*"))
