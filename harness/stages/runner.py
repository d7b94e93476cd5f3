"""Run one stage against a store: lock, build, commit."""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.core.canonical import Json
from harness.core.discover import used
from harness.core.errors import HarnessError
from harness.core.lines import read_json, write_json
from harness.stages.api import Context, Progress, Session, Stage
from harness.stages.registry import KINDS
from harness.store.provenance import provenance
from harness.store.store import Store, disk_full, is_full, store_fault
from harness.store.upkeep import damages


class Damaged(HarnessError):
    """An input artifact is no longer what was stored."""

    def __init__(self, stage: str, what: str) -> None:
        fix = "`harness store verify --repair` removes it; the next run makes it again."
        super().__init__(f"a stored input is damaged: {what}", where=stage[:12], fix=fix)
        self.stage = stage


PLUGINS = "plugins"
"""The files of a stage's plug-ins, in the `execution` of its order."""


@dataclass(frozen=True)
class Order:
    """A stage as it is written down in `planned/ID.json`: all that another process needs to run it."""

    id: str
    identity: dict[str, Json]
    execution: dict[str, Json]
    inputs: dict[str, str]
    """Folder or file of each input."""
    title: str

    @property
    def plugins(self) -> list[Path]:
        """The files of the plug-ins whose code it runs."""
        return [Path(file) for file in self.execution.get(PLUGINS, ())]


def write_orders(store: Store, stages: Iterable[Stage]) -> None:
    """Write down stages that are about to run."""
    for stage in stages:
        places = {name: str(given.path or store.path(given.id)) for name, given in stage.inputs.items()}
        files = [str(plugin.file) for plugin in stage.plugins.values() if not plugin.package]
        execution = {**stage.execution, **({PLUGINS: files} if files else {})}
        order = Order(stage.id, stage.identity, execution, places, stage.title)
        write_json(store.planned / f"{stage.id}.json", vars(order), ensure_ascii=False)


def read_order(store: Store, stage_id: str) -> Order:
    """Read a stage back; an id may be shortened where that is unambiguous."""
    whole = store.planned / f"{stage_id}.json"
    found = [whole] if whole.exists() else sorted(store.planned.glob(f"{stage_id}*.json"))
    if len(found) != 1:
        what = f"{len(found)} planned stages match" if found else "no planned stage has this id"
        raise HarnessError(what, where=stage_id, fix="`harness status RUN` lists the stages of a run.")
    order = read_json(found[0], "Remove it and run the recipe again: it is written anew.")
    match order:
        case {
            "id": str(name),
            "identity": {"kind": str(), "params": {}} as identity,
            "execution": {} as execution,
            "inputs": {**inputs},
            "title": str(title),
        } if all(place and isinstance(place, str) for place in inputs.values()):
            return Order(name, identity, execution, {str(role): str(place) for role, place in inputs.items()}, title)
    raise HarnessError("is no planned stage", where=str(found[0]), fix="Remove it and run the recipe again.")


def run_stage(store: Store, order: Order, session: Session, progress: Progress) -> bool:
    """Build one artifact, or what was evicted of it; False when it was there already.

    Raises:
        Busy: another process is building it.
        Damaged: an input is not, by digest, what was stored.
        HarnessError: a fault the user can mend; what was finished stays in the work folder.
    """
    if store.whole(order.id):
        return False
    _check_version(order)
    _check_plugins(order)
    try:
        with store.lock(order.id):
            if store.whole(order.id):  # built while we waited for the lock
                return False
            _check_inputs(store, order, session)
            _build(store, order, session, progress)
    except OSError as error:
        if error.filename is None or str(error.filename).startswith(str(store.root)):
            raise store_fault(error, store.root) from error
        raise
    except HarnessError:
        raise
    except Exception as error:  # torch and safetensors have words of their own for a full disk
        if "No space left" in str(error) or is_full(store.root):
            raise disk_full(str(store.root)) from error
        raise
    return True


def _check_version(order: Order) -> None:
    """A node of a cluster may have another harness installed than the machine that planned."""
    asked, ours = order.identity["version"], KINDS[order.identity["kind"]].version
    if asked != ours:
        raise HarnessError(
            f"planned as version {asked} of its kind, and the harness here makes version {ours}",
            where=order.title,
            fix="Install the same harness on every machine.",
        )


def _check_plugins(order: Order) -> None:
    """A plug-in may have been changed since the plan was made, or be another on this node of a cluster."""
    for key, planned in order.identity.get("plugins", {}).items():
        attribute, _, name = key.partition(" ")
        here = used(attribute, [name]).get(key)
        if here is None or here.identity != planned:
            what = f"the plug-in {name} is not here" if here is None else f"{here.where} is not the plug-in it was"
            raise HarnessError(what, where=order.title, fix="Run the recipe again, with the plug-in as it is now.")


def _check_inputs(store: Store, order: Order, session: Session) -> None:
    """Compare what this stage reads with the digests it was stored under, once per session."""
    for place in order.inputs.values():
        stage = Path(place).name
        if Path(place) != store.path(stage) or stage in session.checked:
            continue
        for damage in damages(store, [stage]):
            raise Damaged(stage, f"{damage.title}, {damage.what}")
        session.checked.add(stage)


def _threads() -> int | None:
    """Threads of this process's tensor operations; None where it has not needed torch."""
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch is not None else None


def _build(store: Store, order: Order, session: Session, progress: Progress) -> None:
    started, clock = datetime.now(UTC), time.monotonic()
    context = Context(
        id=order.id,
        params=order.identity["params"],
        execution=order.execution,
        inputs={name: Path(place) for name, place in order.inputs.items()},
        out=store.out(order.id),
        work=store.work(order.id),
        progress=progress,
        store=store,
        session=session,
    )
    KINDS[order.identity["kind"]].run(context)
    times = {"started": started.isoformat(timespec="seconds"), "seconds": round(time.monotonic() - clock, 3)}
    record = {**provenance(), **times, "threads": _threads(), "execution": order.execution, "title": order.title}
    store.commit(order.id, order.identity, record)
