"""Run a stage, and all it stands on, in this process."""

from pathlib import Path

from harness.stages.api import Session, Stage
from harness.stages.runner import read_order, run_stage, write_orders
from harness.store.store import Store


def run(stage: Stage, folder: Path) -> Path:
    """The artifact of `stage`, in a store under `folder`."""
    store = Store(folder / "store")
    for needed in (s for s in stage.walk() if not s.is_leaf):
        write_orders(store, [needed])
        run_stage(store, read_order(store, needed.id), Session(), lambda *_, **__: None)
    return store.path(stage.id)
